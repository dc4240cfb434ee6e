"""The tables of the store.

What applications see has an `id`, which cannot be guessed, and a `number`, never given twice. No
key of a provider is in here: a row names the key, and the module's key store holds it.
"""

from __future__ import annotations

import secrets
import string

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""So that a migration can name what it changes, on every database alike."""

metadata = MetaData(naming_convention=_NAMES)
Number = BigInteger().with_variant(Integer, "sqlite")
ID_LENGTH = 20
LARGEST_NUMBER = 2**63 - 1


def new_id() -> str:
    """More than a hundred bits. It begins with a letter: no number and no option looks like it."""
    letters, rest = string.ascii_letters, string.ascii_letters + string.digits
    return secrets.choice(letters) + "".join(secrets.choice(rest) for _ in range(ID_LENGTH - 1))


def _rows(name: str, *columns: Column[object] | Index | UniqueConstraint) -> Table:
    number = Column("number", Number, primary_key=True)
    public = Column("id", String(ID_LENGTH), nullable=False, unique=True)
    return Table(name, metadata, number, public, *columns, sqlite_autoincrement=True)


def _to(column: str, *, on_delete: str = "CASCADE") -> ForeignKey:
    return ForeignKey(column, ondelete=on_delete)


users = _rows(
    "users",
    Column("username", String(30), nullable=False, unique=True),
    Column("display_name", String(128), nullable=False),
    Column("profile", Text),
    Column("recording", Boolean, nullable=False),
    Column("created", Float, nullable=False),
)

chats = _rows(
    "chats",
    Column("title", String(512), nullable=False),
    Column("created", Float, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("chat", Number, _to("chats.number"), primary_key=True),
    Column("user", Number, _to("users.number"), primary_key=True, index=True),
)

providers = _rows(
    "providers",
    Column("name", String(128), nullable=False, unique=True),
    Column("api_endpoint", Text),
    Column("provider", String(64)),
    Column("key_name", String(64)),
    Column("owns_key", Boolean, nullable=False),
    Column("created", Float, nullable=False),
)
"""Either an address or one of the module's own; `owns_key`: its key goes when it goes."""

llms = _rows(
    "llms",
    Column("provider", Number, _to("providers.number"), nullable=False),
    Column("name", String(512), nullable=False),
    Column("created", Float, nullable=False),
    UniqueConstraint("provider", "name"),
)

messages = _rows(
    "messages",
    Column("chat", Number, _to("chats.number"), nullable=False),
    Column("user", Number, _to("users.number"), index=True),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("llm", Number, _to("llms.number", on_delete="SET NULL"), index=True),
    Column("question", Number, _to("messages.number"), index=True),
    Column("created", Float, nullable=False),
    Index(None, "chat", "number"),
)
"""`user` wrote it; an answer has no user but the `question` that it answers, and goes with that."""

records = _rows(
    "records",
    Column("user", Number, _to("users.number"), nullable=False, index=True),
    Column("type", String(64), nullable=False),
    Column("data", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created", Float, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("key", String(512), primary_key=True),
    Column("body", Text, nullable=False),
    Column("user", Number, index=True),
    Column("chat", Number, index=True),
    Column("forget_at", Float, nullable=False, index=True),
)
"""What an instruction came to, for whoever sends it again. `user` and `chat`: whom it tells of."""

told_of = Table(
    "told_of",
    metadata,
    Column("answer", String(512), _to("answers.key"), primary_key=True),
    Column("user", Number, primary_key=True, index=True),
)
"""Further users whom an answer tells of: those in a chat."""

inbox = Table(
    "inbox",
    metadata,
    Column("key", String(512), primary_key=True),
    Column("instruction", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("chat", Number),
    Column("asked", Text, nullable=False),
    Column("accepted", Float, nullable=False),
    Index(None, "accepted", "key"),
)
"""`chat` and `asked`: what it waits for, as it was when it was accepted."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("added", Float, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("ended", Float),
    Index(None, "state", "added"),
    Index(None, "state", "ended"),
)

channel_people = Table(
    "channel_people",
    metadata,
    Column("number", Number, primary_key=True),
    Column("channel", String(64), nullable=False),
    Column("address", String(512), nullable=False),
    Column("user", Number, _to("users.number"), nullable=False, index=True),
    Column("chat", Number, _to("chats.number", on_delete="SET NULL"), index=True),
    Column("created", Float, nullable=False),
    Column("who", String(64), nullable=False),
    UniqueConstraint("channel", "address"),
    Index(None, "channel", "who"),
    sqlite_autoincrement=True,
)
"""Who writes over a channel, and where the conversation is kept. `who`: a digest of the address
without its tag, by which limits count."""

channel_received = Table(
    "channel_received",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("person", Number, _to("channel_people.number"), index=True),
    Column("text", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("accepted", Float, nullable=False),
    Index(None, "channel", "state", "accepted"),
    Index(None, "accepted"),
)
"""What came, known by a digest of its sender's id, so that nothing is answered twice. Its text is
here until it is answered. What no model is asked about, such as STOP, is nobody's."""

channel_replies = Table(
    "channel_replies",
    metadata,
    Column("number", Number, primary_key=True),
    Column("channel", String(64), nullable=False),
    Column("who", String(64), nullable=False),
    Column("cost", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Index(None, "channel", "at"),
    Index(None, "channel", "who", "at"),
    sqlite_autoincrement=True,
)
"""How much was said of late, for the limits. It outlives its user, or a limit could be reset."""

channel_stops = Table(
    "channel_stops",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("who", String(64), primary_key=True),
    Column("since", Float, nullable=False),
)
"""Who wants nothing more. It outlives its user, or who is deleted would be written to again."""

channel_parcels = _rows(
    "channel_parcels",
    Column("channel", String(64), nullable=False),
    Column("user", Number, _to("users.number"), nullable=False, index=True),
    Column("address", String(512), nullable=False),
    Column("text", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Column("created", Float, nullable=False),
    Index(None, "channel", "state", "due"),
    Index(None, "created"),
)
"""Answers on their way out. Their text is here until they are gone."""

channel_marks = Table(
    "channel_marks",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""How far a channel has read, and the like."""
