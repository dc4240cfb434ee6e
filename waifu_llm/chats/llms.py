"""The registry of LLMs: which models of which registered provider may be asked."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct
from sqlalchemy import Select, delete, func, select, update

from waifu_llm.chats import providers as registry
from waifu_llm.chats.entry import Entry, reads
from waifu_llm.chats.fields import Limit, LlmName, Name, Reference, iso
from waifu_llm.chats.tables import llms, providers
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction, page, paged, refers
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, NotFound


class LlmAdd(registry.ProviderNamed, kw_only=True):
    """`llm_name` is what its provider calls it."""

    llm_name: LlmName


class LlmNamed(registry.ProviderNamed, kw_only=True):
    """By id, by number, or by name; the provider where several have one of that name."""

    llm_id: Reference | None = None
    llm_name: LlmName | None = None


class LlmUpdate(LlmNamed, kw_only=True):
    """With an `llm_id`, `llm_name` is the new one; without, it says which is meant."""

    new_name: LlmName | None = None


class LlmList(Struct, kw_only=True):
    """All, or those of a provider; see Page."""

    provider_id: Reference | None = None
    provider_name: Name | None = None
    limit: Limit = 10_000
    after: Reference | None = None


# Finding

_ASKED = func.coalesce(providers.c.api_endpoint, providers.c.provider)
"""Whom a provider stands for."""


def _with_providers() -> Select[Any]:
    further = providers.c.id.label("provider_id"), _ASKED.label("asked")
    return select(llms, *further).join(providers, providers.c.number == llms.c.provider)


async def find(transaction: Transaction, named: Any) -> AnyRow:
    """
    Raises:
        InvalidMessage: When none is named, there is none such, or there are several.
    """
    said = named.llm_id if named.llm_id is not None else named.llm_name
    if said is None:
        raise InvalidMessage("Missing `llm_id`, or `llm_name`, in `data`.")
    by_id = named.llm_id is not None
    statement = _with_providers().where(refers(llms, said) if by_id else llms.c.name == said)
    names_provider = named.provider_id is not None or named.provider_name is not None
    if names_provider:
        statement = statement.where(registry.is_meant(named))
    found = await transaction.all(statement.limit(2))
    if not found and names_provider:
        await registry.find(transaction, named)  # it may be this one that there is not
    if not found:
        raise NotFound(f"There is no LLM `{said}`.")
    if len(found) > 1:
        raise InvalidMessage(f"Several providers have an LLM `{said}`: name one of them too.")
    return found[0]


def shape(row: AnyRow) -> dict[str, Any]:
    return {
        "llm_id": row.id,
        "number": row.number,
        "name": row.name,
        "provider_id": row.provider_id,
        "created_at": iso(row.created),
    }


# Handlers


async def add(data: LlmAdd, transaction: Transaction, _: Engine) -> Outcome:
    provider = await registry.find(transaction, data)
    await _see_that_it_is_free(transaction, provider.number, data.llm_name)
    row = await transaction.insert(
        llms, provider=provider.number, name=data.llm_name, created=time.time()
    )
    added = await find(transaction, LlmNamed(llm_id=row.id))
    return f"LLM `{row.name}` of `{provider.name}` is added.", {"llm": shape(added)}


async def change(data: LlmUpdate, transaction: Transaction, _: Engine) -> Outcome:
    renames = data.llm_id is not None
    named = LlmNamed(llm_id=data.llm_id) if renames else data
    row = await find(transaction, named)
    name = data.new_name or (data.llm_name if renames else None) or row.name
    if name != row.name:
        await _see_that_it_is_free(transaction, row.provider, name)
        await transaction.run(update(llms).where(llms.c.number == row.number).values(name=name))
    changed = await find(transaction, LlmNamed(llm_id=row.id))
    return f"LLM `{name}` is changed.", {"llm": shape(changed)}


async def remove(data: LlmNamed, transaction: Transaction, _: Engine) -> Outcome:
    """What it answered stays."""
    row = await find(transaction, data)
    await transaction.run(delete(llms).where(llms.c.number == row.number))
    return f"LLM `{row.name}` is deleted.", {"llm": shape(row)}


async def list_all(data: LlmList, transaction: Transaction, _: Engine) -> Outcome:
    named = data.provider_id is not None or data.provider_name is not None
    return await _list(data, transaction, await registry.find(transaction, data) if named else None)


async def list_of_provider(data: LlmList, transaction: Transaction, _: Engine) -> Outcome:
    return await _list(data, transaction, await registry.find(transaction, data))


async def _list(data: LlmList, transaction: Transaction, provider: AnyRow | None) -> Outcome:
    statement = _with_providers()
    if provider is not None:
        statement = statement.where(llms.c.provider == provider.number)
    if data.after is not None:
        last = await find(transaction, LlmNamed(llm_id=data.after))
        statement = statement.where(llms.c.number > last.number)
    rows = await transaction.all(page(statement, llms.c.number, data.limit))
    listed = paged("llms", rows, data.limit, shape)
    return f"{len(listed['llms'])} LLMs.", listed


async def _see_that_it_is_free(transaction: Transaction, provider: int, name: str) -> None:
    taken = select(llms.c.number).where(llms.c.provider == provider, llms.c.name == name)
    if await transaction.first(taken):
        raise InvalidMessage(f"This provider has an LLM `{name}` already.")


INSTRUCTIONS = {
    "LLM_ADD": Entry(LlmAdd, add),
    "LLM_UPDATE": Entry(LlmUpdate, change),
    "LLM_DELETE": Entry(LlmNamed, remove),
    "LLM_LIST": reads(LlmList, list_all),
    "LLM_LIST_BY_PROVIDER": reads(LlmList, list_of_provider),
}
