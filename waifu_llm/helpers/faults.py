"""What can go wrong with helpers.

They are errors that clients know; `http_status` is what a door of HTTP answers with.
"""

from __future__ import annotations

from typing import ClassVar

from waifu_llm.errors import InvalidMessage, Overloaded, Timeout, Unavailable


class UnknownHelper(InvalidMessage):
    """Nobody is registered under this name, or nobody has this capability."""

    http_status: ClassVar[int] = 404


class Refused(InvalidMessage):
    """The helper does not take what it was given."""

    http_status: ClassVar[int] = 400


class Failed(Unavailable):
    """The helper was asked, and gave no answer that can be used. It may have done it."""

    http_status: ClassVar[int] = 502


class NotReached(Failed):
    """Nothing came to the helper: another may be asked in its place."""


class Slow(Timeout):
    """No answer in time. It may still be doing it."""

    http_status: ClassVar[int] = 504


class Crowded(Overloaded):
    """Too many wait for this helper already."""

    http_status: ClassVar[int] = 503
