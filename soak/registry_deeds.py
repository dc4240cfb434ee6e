"""What a client has done to the registry of providers and LLMs."""

from __future__ import annotations

from typing import Any

from soak.answer_deeds import TALKER
from soak.deeds import Make
from soak.ledger import Deed, Effect, Ledger, Provider
from soak.owner import MOST, Owner

HOST = "http://127.0.0.1:9"
"""Nobody listens there: it is registered, and never asked."""


def add_provider(owner: Owner) -> Deed | None:
    """One of the module's own, or an address, which may come with a key."""
    if len(owner.providers) >= MOST:
        return None
    name = owner.new("-p")
    made, data = Provider(TALKER), {"provider": TALKER}
    if owner.draw.random() < 0.7:
        made = Provider(f"{HOST}/{name}", owner.new_secret())
        data = {"api_endpoint": made.aim, "api_key": str(made.key)}

    def effect(ledger: Ledger) -> None:
        ledger.providers[name] = Provider(made.aim, made.key)

    return _of_provider("LLM_PROVIDER_ADD", {"name": name, **data}, name, made, effect)


def change_provider(owner: Owner) -> Deed | None:
    """Its name, its key, or its address at the same host, where its key stays."""
    if not owner.providers:
        return None
    old = owner.draw.choice(owner.providers)
    known = owner.ledger.providers[old]
    new, made, data = old, Provider(known.aim, known.key), {}
    if known.key is None or owner.draw.random() < 0.3:
        data["name"] = new = owner.new("-p")
    elif owner.draw.random() < 0.5:
        data["api_key"] = made.key = owner.new_secret()
    else:
        data["api_endpoint"] = made.aim = f"{HOST}/{owner.new('-a')}"

    def effect(ledger: Ledger) -> None:
        llms = ledger.providers.pop(old).llms
        ledger.providers[new] = Provider(made.aim, made.key, llms)

    said = {"provider_name": old, **data}
    return _of_provider("LLM_PROVIDER_UPDATE", said, new, made, effect)


def _of_provider(
    type: str, data: dict[str, Any], name: str, made: Provider, effect: Effect
) -> Deed:
    return Deed(
        type,
        data,
        effect,
        hears=lambda data: (data["provider"]["name"], data["provider"]["has_key"]),
        due=(name, made.key is not None),
    )


def delete_provider(owner: Owner) -> Deed | None:
    if not owner.providers:
        return None
    name = owner.draw.choice(owner.providers)

    def effect(ledger: Ledger) -> None:
        del ledger.providers[name]

    return Deed("LLM_PROVIDER_DELETE", {"provider_name": name}, effect)


def list_providers(owner: Owner) -> Deed:
    def mine(data: Any) -> list[str]:
        names = [each["name"] for each in data["providers"]]
        return sorted(name for name in names if owner.is_mine(name))

    return Deed("LLM_PROVIDER_LIST", {}, hears=mine, due=owner.providers)


def add_llm(owner: Owner) -> Deed | None:
    """Now and then one that is there already, which is refused."""
    if not owner.providers:
        return None
    if owner.llms and owner.draw.random() < 0.2:
        provider, llm = owner.draw.choice(owner.llms)
        data = {"provider_name": provider, "llm_name": llm}
        return Deed("LLM_ADD", data, is_refused=True)
    provider, llm = owner.draw.choice(owner.providers), owner.new("-l")

    def effect(ledger: Ledger) -> None:
        ledger.providers[provider].llms.add(llm)

    return Deed("LLM_ADD", {"provider_name": provider, "llm_name": llm}, effect)


def rename_llm(owner: Owner) -> Deed | None:
    if not owner.llms:
        return None
    (provider, old), new = owner.draw.choice(owner.llms), owner.new("-l")

    def effect(ledger: Ledger) -> None:
        ledger.providers[provider].llms ^= {old, new}

    data = {"provider_name": provider, "llm_name": old, "new_name": new}
    return Deed("LLM_UPDATE", data, effect)


def delete_llm(owner: Owner) -> Deed | None:
    if not owner.llms:
        return None
    provider, llm = owner.draw.choice(owner.llms)

    def effect(ledger: Ledger) -> None:
        ledger.providers[provider].llms.discard(llm)

    return Deed("LLM_DELETE", {"provider_name": provider, "llm_name": llm}, effect)


def list_llms(owner: Owner) -> Deed:
    def mine(data: Any) -> list[str]:
        names = [each["name"] for each in data["llms"]]
        return sorted(name for name in names if owner.is_mine(name))

    return Deed("LLM_LIST", {}, hears=mine, due=sorted(llm for _, llm in owner.llms))


def list_llms_of_provider(owner: Owner) -> Deed | None:
    if not owner.providers:
        return None
    name = owner.draw.choice(owner.providers)
    return Deed(
        "LLM_LIST_BY_PROVIDER",
        {"provider_name": name},
        hears=lambda data: sorted(each["name"] for each in data["llms"]),
        due=sorted(owner.ledger.providers[name].llms),
    )


KINDS: dict[str, tuple[Make, float]] = {
    "LLM_PROVIDER_ADD": (add_provider, 1),
    "LLM_PROVIDER_UPDATE": (change_provider, 0.7),
    "LLM_PROVIDER_DELETE": (delete_provider, 0.7),
    "LLM_PROVIDER_LIST": (list_providers, 0.5),
    "LLM_ADD": (add_llm, 1),
    "LLM_UPDATE": (rename_llm, 0.7),
    "LLM_DELETE": (delete_llm, 0.7),
    "LLM_LIST": (list_llms, 0.5),
    "LLM_LIST_BY_PROVIDER": (list_llms_of_provider, 0.5),
}
"""With how often each is drawn."""
