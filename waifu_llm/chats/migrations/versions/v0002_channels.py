"""Channels: who writes over one, what came, what was said, and what is on its way out."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_people()
    _create_received()
    _create_replies()
    _create_parcels()
    _create_marks()


def _create_people() -> None:
    op.create_table(
        "channel_people",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("address", sa.String(512), nullable=False),
        sa.Column("user", NUMBER, nullable=False),
        sa.Column("chat", NUMBER),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        _to("channel_people", "user", "users"),
        _to("channel_people", "chat", "chats", on_delete="SET NULL"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_channel_people")),
        sa.UniqueConstraint("channel", "address", name=op.f("uq_channel_people_channel_address")),
        sqlite_autoincrement=True,
    )
    _index("channel_people", "user")
    _index("channel_people", "chat")


def _create_received() -> None:
    op.create_table(
        "channel_received",
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("person", NUMBER, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Float(), nullable=False),
        _to("channel_received", "person", "channel_people"),
        sa.PrimaryKeyConstraint("channel", "id", name=op.f("pk_channel_received")),
    )
    _index("channel_received", "person")
    _index("channel_received", "accepted")
    _index("channel_received", "channel", "state", "accepted")


def _create_replies() -> None:
    op.create_table(
        "channel_replies",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("user", NUMBER),
        sa.Column("cost", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        _to("channel_replies", "user", "users", on_delete="SET NULL"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_channel_replies")),
        sqlite_autoincrement=True,
    )
    _index("channel_replies", "user")
    _index("channel_replies", "channel", "at")


def _create_parcels() -> None:
    op.create_table(
        "channel_parcels",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(20), nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("user", NUMBER, nullable=False),
        sa.Column("address", sa.String(512), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        _to("channel_parcels", "user", "users"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_channel_parcels")),
        sa.UniqueConstraint("id", name=op.f("uq_channel_parcels_id")),
        sqlite_autoincrement=True,
    )
    _index("channel_parcels", "user")
    _index("channel_parcels", "created")
    _index("channel_parcels", "channel", "state", "due")


def _create_marks() -> None:
    op.create_table(
        "channel_marks",
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "name", name=op.f("pk_channel_marks")),
    )


def _to(table: str, column: str, other: str, on_delete: str = "CASCADE") -> Any:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.number"], name=name, ondelete=on_delete)


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
