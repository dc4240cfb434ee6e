"""Limits and stops by a digest of the address without its tag, which outlives the person."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TAGGED = re.compile(r"([^@+]+)\+[^@]*(@[^@]+)", re.DOTALL)


def upgrade() -> None:
    op.add_column("channel_people", sa.Column("who", sa.String(64)))
    known = _name_people()
    _create_stops(known)
    _change_people()
    _count_replies_anew(known)
    with op.batch_alter_table("channel_received") as table:
        table.alter_column("person", existing_type=NUMBER, nullable=True)


def _name_people() -> list[Any]:
    """All of them, as they were, with `who` they are."""
    people = sa.table("channel_people", *map(sa.column, ("number", "who")))
    found = sa.text('SELECT number, channel, address, "user", stopped FROM channel_people')
    rows = op.get_bind().execute(found).mappings()
    known = [{**row, "who": _who(row["address"])} for row in rows]
    for row in known:
        this = people.c.number == row["number"]
        op.execute(sa.update(people).where(this).values(who=row["who"]))
    return known


def _create_stops(known: list[Any]) -> None:
    stops = op.create_table(
        "channel_stops",
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "who", name=op.f("pk_channel_stops")),
    )
    for channel, who in {(row["channel"], row["who"]) for row in known if row["stopped"]}:
        op.execute(sa.insert(stops).values(channel=channel, who=who, since=0.0))


def _change_people() -> None:
    with op.batch_alter_table(
        "channel_people", table_kwargs={"sqlite_autoincrement": True}
    ) as table:
        table.alter_column("who", existing_type=sa.String(64), nullable=False)
        table.drop_column("stopped")
    op.create_index(op.f("ix_channel_people_channel_who"), "channel_people", ["channel", "who"])


def _count_replies_anew(known: list[Any]) -> None:
    """Of whom nobody knows any more whose they were, count for all together."""
    theirs = {(row["channel"], row["user"]): row["who"] for row in known}
    found = sa.text('SELECT channel, "user", cost, at FROM channel_replies ORDER BY number')
    kept = [dict(row) for row in op.get_bind().execute(found).mappings()]
    op.drop_table("channel_replies")
    replies = op.create_table(
        "channel_replies",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("cost", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_channel_replies")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_channel_replies_channel_at"), "channel_replies", ["channel", "at"])
    op.create_index(
        op.f("ix_channel_replies_channel_who_at"), "channel_replies", ["channel", "who", "at"]
    )
    for row in kept:
        row["who"] = theirs.get((row["channel"], row.pop("user")), "")
    if kept:
        op.bulk_insert(replies, kept)


def _who(address: str) -> str:
    found = _TAGGED.fullmatch(address)
    plain = found[1] + found[2] if found else address
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
