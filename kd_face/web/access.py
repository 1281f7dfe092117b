"""Access: the one way to say who may call a route.

Every route has exactly one of these as a dependency:

    caller: Operator                                     a page for operators and admins
    caller: Annotated[Caller, Depends(scope("identify", "viewer"))]      of the REST API
    dependencies=[Depends(ANYONE)]                       open to everybody

A signed-in user sends the session cookie, and the CSRF token with every unsafe request: as header
``X-CSRF-Token`` or as form field ``csrf``. A program sends ``Authorization: Bearer KEY``.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from kd_face import keys, sessions, users
from kd_face.web.answers import Refusal
from kd_face.web.state import Web, web_of

SAFE = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True)
class Caller:
    """Who has sent a request.

    Args:
        name: Of the user, or ``key:`` and the prefix of a key; for the audit log. Empty where a
            route is open.
        role: Of the user; None for a key.
        csrf: Token for the forms of the user; None for a key.
    """

    name: str = ""
    role: str | None = None
    csrf: str | None = None

    def may(self, role: str) -> bool:
        """Return whether the user's role may do what another one may; a key never may."""
        return self.role is not None and users.allows(self.role, role)

    @property
    def sees_scores(self) -> bool:
        """Return whether exact similarities are shown: to operators and admins."""
        return self.may("operator")


@dataclass(frozen=True)
class Access:
    """Rule of a route.

    Args:
        role: Least role of a signed-in user; None where the route is open.
        scope: That a key must have; None where no key is accepted.
    """

    role: str | None
    scope: str | None = None

    async def __call__(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            Refusal: 401 without a valid session or key, 403 where it may not do this or the CSRF
                token is wrong, 429 where a key is used too often.
        """
        caller = Caller()
        if self.role is not None:
            csrf = await _sent_csrf(request)
            caller = await run_in_threadpool(self._check, request, csrf)
        request.state.caller = caller
        return caller

    def _check(self, request: Request, csrf: str) -> Caller:
        assert self.role is not None
        web = web_of(request)
        if "Authorization" in request.headers:
            return self._check_key(web, request.headers["Authorization"])
        caller = signed_in(web, request)
        if caller is None:
            raise _unknown("sign in, or send a key as a Bearer token.")
        if request.method not in SAFE and not sessions.same(caller.csrf or "", csrf):
            raise Refusal(403, "the CSRF token is missing or wrong. Load the page again.")
        if not caller.may(self.role):
            raise Refusal(403, f"this needs the role {self.role}, but yours is {caller.role}.")
        return caller

    def _check_key(self, web: Web, header: str) -> Caller:
        form, _, key = header.partition(" ")
        with web.home.read() as session:
            row = keys.find(session, key.strip()) if form.lower() == "bearer" else None
        if row is None:
            raise _unknown("the key is unknown or revoked.")
        web.keys.require(row.prefix)
        if self.scope is None:
            raise Refusal(403, "this is for signed-in users; no key may do it.")
        if self.scope not in keys.scopes_of(row):
            raise Refusal(403, f"this needs a key with the scope {self.scope}.")
        return Caller(f"key:{row.prefix}")


ANYONE = Access(None)


def role(least: str) -> Access:
    """Return the rule of a route for signed-in users of a role or a higher one."""
    return Access(least)


def scope(name: str, least: str) -> Access:
    """Return the rule of a route for keys with a scope and for users of a role or a higher one."""
    return Access(least, name)


Viewer = Annotated[Caller, Depends(role("viewer"))]
Operator = Annotated[Caller, Depends(role("operator"))]
Admin = Annotated[Caller, Depends(role("admin"))]


def rule_of(route: APIRoute) -> Access:
    """Return the rule of a route.

    Raises:
        ValueError: If it has none, or more than one.
    """
    found = set(_rules(route.dependant))
    if len(found) != 1:
        raise ValueError(f"{route.path} must have one rule of access, but it has {len(found)}.")
    return found.pop()


def signed_in(web: Web, request: Request) -> Caller | None:
    """Return the user of the session cookie, or None."""
    token = request.cookies.get(web.options.cookie)
    if not token:
        return None
    with web.home.read() as session:
        user = sessions.user_of(session, token)
        if user is None:
            return None
        return Caller(user.name, user.role, sessions.csrf_of(session, token))


def admits(web: Web, request: Request, rule: Access) -> bool:
    """Return whether a rule lets the user or key of a request in, before its body is read."""
    if "Authorization" not in request.headers:
        caller = signed_in(web, request)
        return caller is not None and caller.may(rule.role or "")
    with web.home.read() as session:
        key = keys.find(session, request.headers["Authorization"].partition(" ")[2].strip())
        return key is not None and (rule.scope is None or rule.scope in keys.scopes_of(key))


def _rules(dependant: Dependant) -> list[Access]:
    own = [dependant.call] if isinstance(dependant.call, Access) else []
    return own + [one for inner in dependant.dependencies for one in _rules(inner)]


def _unknown(message: str) -> Refusal:
    refusal = Refusal(401, message)
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


async def _sent_csrf(request: Request) -> str:
    if request.method in SAFE or "Authorization" in request.headers:
        return ""
    if sent := request.headers.get("X-CSRF-Token"):
        return sent
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() in _FORMS:
        field = (await request.form()).get("csrf")  # kept, so that the route can read it as well
        return field if isinstance(field, str) else ""
    return ""
