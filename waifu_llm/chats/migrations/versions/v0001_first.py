"""The first schema. What is written here stays: a change is a file of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_users_and_chats()
    _create_registry()
    _create_messages()
    _create_records()
    _create_what_comes_and_goes()


def _create_users_and_chats() -> None:
    _rows(
        "users",
        sa.Column("username", sa.String(30), nullable=False),
        sa.Column("display_name", sa.String(128), nullable=False),
        sa.Column("profile", sa.Text()),
        sa.Column("recording", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    _rows(
        "chats",
        sa.Column("title", sa.String(512), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("chat", NUMBER, nullable=False),
        sa.Column("user", NUMBER, nullable=False),
        _to("members", "chat", "chats"),
        _to("members", "user", "users"),
        sa.PrimaryKeyConstraint("chat", "user", name=op.f("pk_members")),
    )
    _index("members", "user")


def _create_registry() -> None:
    _rows(
        "providers",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("api_endpoint", sa.Text()),
        sa.Column("provider", sa.String(64)),
        sa.Column("key_name", sa.String(64)),
        sa.Column("owns_key", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.UniqueConstraint("name", name=op.f("uq_providers_name")),
    )
    _rows(
        "llms",
        sa.Column("provider", NUMBER, nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        _to("llms", "provider", "providers"),
        sa.UniqueConstraint("provider", "name", name=op.f("uq_llms_provider_name")),
    )


def _create_messages() -> None:
    _rows(
        "messages",
        sa.Column("chat", NUMBER, nullable=False),
        sa.Column("user", NUMBER),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("llm", NUMBER),
        sa.Column("question", NUMBER),
        sa.Column("created", sa.Float(), nullable=False),
        _to("messages", "chat", "chats"),
        _to("messages", "user", "users"),
        _to("messages", "llm", "llms", on_delete="SET NULL"),
        _to("messages", "question", "messages"),
    )
    for columns in (("chat", "number"), ("user",), ("llm",), ("question",)):
        _index("messages", *columns)


def _create_records() -> None:
    _rows(
        "records",
        sa.Column("user", NUMBER, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        _to("records", "user", "users"),
    )
    _index("records", "user")


def _create_what_comes_and_goes() -> None:
    op.create_table(
        "answers",
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("user", NUMBER),
        sa.Column("chat", NUMBER),
        sa.Column("forget_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_answers")),
    )
    for column in ("user", "chat", "forget_at"):
        _index("answers", column)
    op.create_table(
        "told_of",
        sa.Column("answer", sa.String(512), nullable=False),
        sa.Column("user", NUMBER, nullable=False),
        _to("told_of", "answer", "answers", number="key"),
        sa.PrimaryKeyConstraint("answer", "user", name=op.f("pk_told_of")),
    )
    _index("told_of", "user")
    op.create_table(
        "inbox",
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("chat", NUMBER),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("accepted", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_inbox")),
    )
    _index("inbox", "accepted", "key")
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("added", sa.Float(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("ended", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    _index("jobs", "state", "added")
    _index("jobs", "state", "ended")


def _rows(name: str, *columns: Any) -> None:
    op.create_table(
        name,
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(20), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("id", name=op.f(f"uq_{name}_id")),
        sqlite_autoincrement=True,
    )


def _to(
    table: str, column: str, other: str, on_delete: str = "CASCADE", number: str = "number"
) -> Any:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.{number}"], name=name, ondelete=on_delete)


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
