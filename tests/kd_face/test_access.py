"""Users, sessions, keys and the audit log."""

import pytest
from argon2 import PasswordHasher, Type
from sqlalchemy import select, text

from kd_face import audit, keys, sessions, settings, users
from kd_face.database.models import ApiKey, AuditEntry, LoginSession, User
from kd_face.errors import FaceError

from .stand_ins import undefended

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    assert users._HASHER.memory_cost >= 65536 and users._HASHER.time_cost >= 3
    assert users._HASHER.type is Type.ID
    users._nobody.cache_clear()
    monkeypatch.setattr(
        users, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    )
    yield
    users._nobody.cache_clear()


@pytest.fixture
def anna(home):
    with home.write() as session:
        return users.add(session, "Anna", PASSWORD, "admin", "test")


def test_no_account_and_no_key_is_there_at_first(home):
    with home.read() as session:
        assert not session.scalars(select(User)).all() and not session.scalars(select(ApiKey)).all()


def test_passwords_are_argon2id_and_checked(home, anna):
    assert anna.password_hash.startswith("$argon2id$") and PASSWORD not in anna.password_hash
    assert users.authenticate(home, "ANNA", PASSWORD).name == "anna"
    for name, password in [("anna", "x"), ("bob", PASSWORD), ("anna", PASSWORD + "x"), ("", "")]:
        assert users.authenticate(home, name, password) is None
    assert users.authenticate(home, "anna", PASSWORD + "x" * 5000) is None


def test_unknown_users_are_hashed_for_as_well(home, anna, monkeypatch):
    asked = []
    verify = users._matches
    monkeypatch.setattr(users, "_matches", lambda *pair: asked.append(pair) or verify(*pair))
    for name in ("anna", "nobody"):
        users.authenticate(home, name, "wrong password")
    (known, _), (unknown, _) = asked
    assert known.split("$")[:4] == unknown.split("$")[:4]  # same algorithm, same costs


def test_what_cannot_be_a_user_is_refused(home, anna):
    with home.write() as session:
        for name, password, role, reason in [
            ("anna", PASSWORD, "viewer", "already"),
            ("b", "short", "viewer", "12 to 1024"),
            ("b", PASSWORD, "root", "role must be one of"),
            ("a b", PASSWORD, "viewer", "letters"),
        ]:
            with pytest.raises(FaceError, match=reason):
                users.add(session, name, password, role, "test")


def test_roles_are_in_order():
    assert [users.allows(role, "operator") for role in (*users.ROLES, "", "root")] == [
        False, True, True, False, False
    ]  # fmt: skip


def test_the_last_admin_stays(home, anna):
    with home.write() as session:
        with pytest.raises(FaceError, match="last admin"):
            users.disable(session, "anna", "test")
        users.add(session, "bob", PASSWORD, "admin", "test")
        users.disable(session, "anna", "test")
    assert users.authenticate(home, "anna", PASSWORD) is None


def test_sessions_are_hashed_rotated_and_end(home, anna, monkeypatch):
    with home.write() as session:
        old, _ = sessions.begin(session, anna)
        new, csrf = sessions.begin(session, anna, old)
        assert sessions.user_of(session, old) is None
        assert sessions.user_of(session, new).name == "anna"
        assert sessions.csrf_of(session, new) == csrf and sessions.csrf_of(session, old) is None
        assert sessions.same(csrf, csrf) and not sessions.same(csrf, "x")
        assert not sessions.same("", "") and not sessions.same(csrf, "\u00e9")
        assert session.scalars(select(LoginSession.token_hash)).one() != new
        users.set_password(session, "anna", PASSWORD + "2", "test")
        assert sessions.user_of(session, new) is None
        token, _ = sessions.begin(session, anna)
        later = sessions.now() + sessions.timedelta(hours=sessions.HOURS)
        monkeypatch.setattr(sessions, "now", lambda: later)
        assert sessions.user_of(session, token) is None


def test_keys_are_hashed_scoped_and_revoked(home):
    with home.write() as session:
        key = keys.create(session, "door", ["identify"], "test")
        assert key.split("_", 2)[2] not in session.scalars(select(ApiKey.secret_hash)).one()
        assert keys.scopes_of(keys.find(session, key)) == ("identify",)
        for wrong in ("", "kdf", "kdf__", key[:-1], key + "x", "x" + key, key.rsplit("_", 1)[0]):
            assert keys.find(session, wrong) is None
        keys.revoke(session, key.split("_")[1], "test")
        assert keys.find(session, key) is None
        with pytest.raises(FaceError, match="scopes of identify"):
            keys.create(session, "x", ["root"], "test")
        with pytest.raises(FaceError, match="none"):
            keys.create(session, "x", [], "test")


def test_a_session_of_a_disabled_user_is_none(home, anna):
    """Whoever is disabled while a sign-in is checked has a session that is good for nothing."""
    with home.write() as session:
        session.merge(anna).is_active = False
        token, _ = sessions.begin(session, anna)
        assert sessions.user_of(session, token) is None


def test_whoever_is_disabled_or_has_another_role_signs_in_anew(home, anna):
    with home.write() as session:
        users.add(session, "bob", PASSWORD, "admin", "test")
        token, _ = sessions.begin(session, anna)
        users.disable(session, "anna", "test")
        users.enable(session, "anna", "test")
        assert sessions.user_of(session, token) is None
        token, _ = sessions.begin(session, anna)
        users.set_role(session, "anna", "viewer", "test")
        assert sessions.user_of(session, token) is None


def test_a_disabled_admin_is_no_other_admin(home, anna):
    with home.write() as session:
        users.add(session, "bob", PASSWORD, "admin", "test")
        users.disable(session, "bob", "test")
        for change in (
            lambda: users.disable(session, "anna", "test"),
            lambda: users.set_role(session, "anna", "viewer", "test"),
        ):
            with pytest.raises(FaceError, match="last admin"):
                change()


@pytest.fixture
def entries(home):
    with home.write() as session:
        for number in range(4):
            audit.append(session, "anna", "test", {"number": number})
    return home


def test_the_chain_is_verified(entries):
    with entries.read() as session:
        count, head = audit.verify(session)
        assert count == 4 and len(head) == 64
        assert session.scalars(select(AuditEntry.previous)).first() == "0" * 64


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET details = '{}' WHERE id = 2",
        "UPDATE audit_entry SET actor = 'bob' WHERE id = 4",
        "UPDATE audit_entry SET action = 'x' WHERE id = 4",
        "UPDATE audit_entry SET at = '2020-01-01 00:00:00' WHERE id = 1",
        "DELETE FROM audit_entry WHERE id = 2",
        "DELETE FROM audit_entry WHERE id = 4",
        "DELETE FROM audit_entry",
    ],
)
def test_what_was_changed_behind_its_back_is_found(entries, statement):
    with undefended(entries) as session:
        session.execute(text(statement))
    with entries.read() as session, pytest.raises(FaceError, match="audit log"):
        audit.verify(session)


def test_an_entry_that_is_gone_is_found_where_its_number_was_corrected(entries):
    with undefended(entries) as session:
        head = settings.get(session, audit.HEAD)
        session.execute(text("DELETE FROM audit_entry WHERE id = 2"))
        settings.put(session, audit.HEAD, [3, head[1]])
    with entries.read() as session, pytest.raises(FaceError, match="entry 3 of the audit log"):
        audit.verify(session)


def test_a_cut_end_with_a_forged_head_needs_the_head_that_was_kept(entries):
    """The chain alone cannot show it: that is what the head is for."""
    with undefended(entries) as session:
        kept = audit.verify(session)
        before = session.get_one(AuditEntry, 3).hash
        session.execute(text("DELETE FROM audit_entry WHERE id = 4"))
        settings.put(session, audit.HEAD, [3, before])
        assert audit.verify(session) == (3, before) != kept


def test_the_program_cannot_change_an_entry(entries):
    with pytest.raises(RuntimeError, match="never changed"), entries.write() as session:
        session.get_one(AuditEntry, 1).actor = "bob"
    with pytest.raises(RuntimeError, match="never changed"), entries.write() as session:
        session.delete(session.get_one(AuditEntry, 1))


def test_nothing_secret_is_in_it(home, anna):
    with home.write() as session:
        key = keys.create(session, "door", ["identify"], "test")
        token, csrf = sessions.begin(session, anna)
        log = " ".join(session.scalars(select(AuditEntry.details)))
    assert "door" not in log and "identify" in log
    for secret in (PASSWORD, key.split("_", 2)[2], token, csrf, anna.password_hash):
        assert secret not in log
