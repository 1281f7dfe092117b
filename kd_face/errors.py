"""Errors of the face application that a person can act on: rule, values, remedy."""

from __future__ import annotations


class FaceError(ValueError):
    """A rule of the application is broken; the message is one or two sentences for its user."""


class Missing(FaceError):
    """What a number names does not exist."""


class Unavailable(FaceError):
    """What the application needs does not answer."""


class Conflict(FaceError):
    """What is there already stands against it, such as a name that is taken."""
