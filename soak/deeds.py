"""What a client has done to users, records and chats, drawn from what it owns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soak.kept import EVERYBODY
from soak.ledger import Chat, Deed, Ledger, User
from soak.owner import MOST, Owner

Make = Callable[[Owner], Deed | None]
"""None where it cannot be done now."""


# Users


def create_user(owner: Owner) -> Deed | None:
    if len(owner.friends) >= MOST:
        return None
    name, profile = owner.new("_f"), owner.new(" profile ")

    def effect(ledger: Ledger) -> None:
        ledger.users[name] = User(name, profile)

    return Deed("USER_CREATE", {"username": name, "profile": profile}, effect)


def change_user(owner: Owner) -> Deed:
    if owner.friends and owner.draw.random() < 0.4:
        return _rename_user(owner)
    name, profile, shown = owner.user, owner.new(" profile "), owner.new(" shown ")

    def effect(ledger: Ledger) -> None:
        ledger.users[name].profile, ledger.users[name].display_name = profile, shown

    data = {"username": name, "profile": profile, "display_name": shown}
    return Deed("USER_UPDATE", data, effect, (name,))


def _rename_user(owner: Owner) -> Deed:
    old, new = owner.draw.choice(owner.friends), owner.new("_f")
    by_id = {"user_id": owner.ids[old], "username": new}
    data = owner.draw.choice([by_id, {"username": old, "new_username": new}])
    return Deed("USER_UPDATE", data, lambda ledger: ledger.rename_user(old, new), (old,))


def delete_user(owner: Owner) -> Deed | None:
    if not owner.friends:
        return None
    name = owner.draw.choice(owner.friends)
    return Deed("USER_DELETE", {"username": name}, lambda ledger: ledger.delete_user(name), (name,))


def show_user(owner: Owner) -> Deed:
    name = owner.user
    due = owner.ledger.users[name]
    return Deed(
        "USER_GET",
        {"username": name},
        names=(name,),
        hears=lambda data: (data["user"]["display_name"], data["user"]["profile"]),
        due=(due.display_name, due.profile),
    )


def list_users(owner: Owner) -> Deed:
    def mine(data: Any) -> list[str]:
        names = [each["username"] for each in data["users"]]
        return sorted(name for name in names if owner.is_mine(name))

    return Deed("USER_LIST", {}, hears=mine, due=sorted(owner.ledger.users))


# Records


def switch_recording(owner: Owner, *, on: bool) -> Deed:
    name = owner.user

    def effect(ledger: Ledger) -> None:
        ledger.users[name].recording = on

    type = f"USER_INSTRUCTION_RECORDING_{'ENABLE' if on else 'DISABLE'}"
    return Deed(type, {"username": name}, effect, (name,))


def list_records(owner: Owner, type: str) -> Deed:
    name = owner.user
    due = list(owner.ledger.users[name].records)

    def told(data: Any) -> list[str]:
        """One that comes again is looked up anew, when it is on the list itself."""
        listed = [f"{each['type']} {each['status']}" for each in data["records"]]
        return listed[:-1] if listed == [*due, f"{type} success"] else listed

    return Deed(type, {"username": name}, names=(name,), hears=told, due=due)


def delete_records(owner: Owner) -> Deed:
    name = owner.user

    def effect(ledger: Ledger) -> None:
        ledger.users[name].records.clear()

    return Deed("USER_INSTRUCTION_RECORDS_DELETE", {"username": name}, effect)


# Chats


def create_chat(owner: Owner) -> Deed | None:
    if len(owner.chats) >= MOST:
        return None
    title, names = owner.new(" chat "), owner.some_users()

    def effect(ledger: Ledger) -> None:
        ledger.chats[title] = Chat(set(names))

    return Deed("CHAT_CREATE", {"title": title, "usernames": names}, effect, tuple(names))


def change_chat(owner: Owner) -> Deed | None:
    """Its title or its members; not those of the chat of all."""
    if not owner.chats:
        return None
    title = owner.draw.choice(owner.chats)
    who = owner.who_asks(title)
    data = {"chat_id": owner.ids[title], **asks(who)}
    if owner.draw.random() < 0.5:
        new = owner.new(" chat ")
        return Deed(
            "CHAT_UPDATE",
            {**data, "title": new},
            lambda ledger: ledger.chats.update({new: ledger.chats.pop(title)}),
            tuple(who),
        )
    names = owner.some_users()

    def let_in(ledger: Ledger) -> None:
        ledger.chats[title].members = set(names)

    return Deed("CHAT_UPDATE", {**data, "usernames": names}, let_in, tuple(sorted({*who, *names})))


def delete_chat(owner: Owner) -> Deed | None:
    if not owner.chats:
        return None
    title = owner.draw.choice(owner.chats)
    who = owner.who_asks(title)
    data = {"chat_id": owner.ids[title], **asks(who)}
    return Deed("CHAT_DELETE", data, lambda ledger: _drop(ledger.chats, title), tuple(who))


def load_chat(owner: Owner) -> Deed:
    title = owner.draw.choice([*owner.chats, EVERYBODY])
    who = owner.who_asks(title)
    due = [text for each in owner.ledger.chats[title].said for text in (each.question, each.answer)]

    def mine(data: Any) -> list[str]:
        """An answer stands right after its question, but where others talk too."""
        said = data["chat"]["messages"]
        if title != EVERYBODY:
            return [each["content"] for each in said]
        pairs = zip(said[::2], said[1::2], strict=True)
        return [
            each["content"] for a, b in pairs if owner.is_mine(a["username"]) for each in (a, b)
        ]

    data = {"chat_id": owner.ids[title], "limit": 10_000, **asks(who)}
    return Deed("CHAT_LOAD", data, names=tuple(who), hears=mine, due=due)


def list_chats(owner: Owner, type: str) -> Deed:
    """Those of one of its users; or all, of which its own are looked at."""
    if type == "CHAT_LIST" and owner.draw.random() < 0.5:
        return Deed(
            type,
            {},
            hears=lambda data: [title for title in _titles(data) if owner.is_mine(title)],
            due=owner.chats,
        )
    name = owner.user
    due = sorted(title for title, chat in owner.ledger.chats.items() if name in chat.members)
    return Deed(type, {"username": name}, names=(name,), hears=_titles, due=due)


def _titles(data: Any) -> list[str]:
    return sorted(each["title"] for each in data["chats"])


def asks(who: list[str]) -> dict[str, str]:
    return {"username": who[0]} if who else {}


def _drop(rows: dict[str, Any], name: str) -> None:
    del rows[name]


KINDS: dict[str, tuple[Make, float]] = {
    "USER_CREATE": (create_user, 2),
    "USER_UPDATE": (change_user, 2),
    "USER_DELETE": (delete_user, 1),
    "USER_GET": (show_user, 1),
    "USER_LIST": (list_users, 1),
    "USER_INSTRUCTION_RECORDING_ENABLE": (lambda owner: switch_recording(owner, on=True), 1.5),
    "USER_INSTRUCTION_RECORDING_DISABLE": (lambda owner: switch_recording(owner, on=False), 0.5),
    **{
        type: (lambda owner, type=type: list_records(owner, type), 0.5)
        for type in ("USER_INSTRUCTION_RECORDING_LIST", "USER_INSTRUCTION_RECORDS_LIST")
    },
    "USER_INSTRUCTION_RECORDS_DELETE": (delete_records, 0.5),
    "CHAT_CREATE": (create_chat, 3),
    "CHAT_UPDATE": (change_chat, 2),
    "CHAT_DELETE": (delete_chat, 1.5),
    "CHAT_LOAD": (load_chat, 1.5),
    **{
        type: (lambda owner, type=type: list_chats(owner, type), 0.5)
        for type in ("CHAT_LIST", "CHAT_LIST_BY_USER")
    },
}
"""With how often each is drawn."""
