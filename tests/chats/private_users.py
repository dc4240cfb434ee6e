"""What is done to users and to what is recorded of them, beside what should come of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from private_store import NAMES, OF_OTHERS, PrivateStore, User, some_name


class PrivateUsers(PrivateStore):
    """Users come, change, and go for good."""

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            self.create_user(name)

    @precondition(lambda self: len(self.users) < len(NAMES))
    @rule(name=some_name)
    def create_user(self, name: str) -> None:
        profile = self.new_word()
        answer = self.do("USER_CREATE", username=name, profile=profile)
        self.check(answer, name not in self.users)
        if name not in self.users:
            id = answer["data"]["user"]["user_id"]
            self.users[name] = User(id, profile, words=[profile], called={id, name})

    @rule(name=some_name)
    def change_user(self, name: str) -> None:
        profile, shown = self.new_word(), self.new_word()
        answer = self.do("USER_UPDATE", username=name, profile=profile, display_name=shown)
        self.check(answer, name in self.users)
        if name in self.users:
            self.users[name].profile = profile
            self.users[name].words += [profile, shown]

    @rule(name=some_name, new=some_name)
    def rename_user(self, name: str, new: str) -> None:
        allowed = name in self.users and (new == name or new not in self.users)
        self.check(self.do("USER_UPDATE", username=name, new_username=new), allowed)
        if not allowed:
            return
        self.users[new] = self.users.pop(name)
        self.users[new].called.add(new)
        for chat in self.known.values():
            chat.members = {new if each == name else each for each in chat.members}
            for said in chat.said:
                said.name = new if said.name == name else said.name

    @rule(name=some_name)
    def show_user(self, name: str) -> None:
        answer = self.do_as(name, "USER_GET")
        self.check(answer, name in self.users)
        if name in self.users:
            assert answer["data"]["user"]["profile"] == self.users[name].profile

    @rule()
    def list_users(self) -> None:
        listed = self.do("USER_LIST")["data"]["users"]
        assert {each["username"] for each in listed} == self.users.keys()

    @precondition(lambda self: len(self.users) > 1)
    @rule(name=some_name)
    def delete_user(self, name: str) -> None:
        """Nothing of what the user said is left anywhere."""
        self.check(self.do("USER_DELETE", username=name), name in self.users)
        if (user := self.users.pop(name, None)) is None:
            return
        for chat in list(self.known.values()):
            if chat.members == {name}:
                self.known.pop(chat.id)
                self.see_gone([chat.mark], but_in=OF_OTHERS)
            chat.members.discard(name)
            chat.said = [each for each in chat.said if each.name != name]
        self.see_gone(user.words)
        self.see_overwritten(user.words)

    # What is recorded

    @rule(name=some_name, on=st.sampled_from([True, True, False]))
    def record(self, name: str, on: bool) -> None:
        switch = "USER_INSTRUCTION_RECORDING_ENABLE", "USER_INSTRUCTION_RECORDING_DISABLE"
        self.check(self.do_as(name, switch[not on]), name in self.users)
        if name in self.users:
            self.users[name].recording = on

    @rule(
        name=some_name,
        type=st.sampled_from(["USER_INSTRUCTION_RECORDING_LIST", "USER_INSTRUCTION_RECORDS_LIST"]),
    )
    def list_records(self, name: str, type: str) -> None:
        """A user's records are of instructions that named that user."""
        answer = self.do(type, username=name)
        self.check(answer, name in self.users)
        for each in answer["data"]["records"] if name in self.users else ():
            assert self.users[name].called & _named(each["data"]), (name, each)

    @rule(name=some_name)
    def delete_records(self, name: str) -> None:
        self.check(self.do("USER_INSTRUCTION_RECORDS_DELETE", username=name), name in self.users)
        if name in self.users and not self.users[name].recording:
            assert self.do("USER_INSTRUCTION_RECORDS_LIST", username=name)["data"]["records"] == []


def _named(data: dict[str, Any]) -> set[str]:
    return {data.get("user_id", ""), data.get("username", ""), *data.get("usernames", ())}
