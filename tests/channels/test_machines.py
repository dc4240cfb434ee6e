"""Machines, lists and ourselves are told from people."""

from __future__ import annotations

import pytest
from automatic_mails import AUTOMATIC, ORDINARY

from waifu_llm.channels.mail.machines import why_not
from waifu_llm.channels.mail.reading import parsed, read

OWN = {"aria@waifu.example"}
OF_HEADERS_ALONE = ("a null path",)


def asked(raw: str, sender: str | None) -> str:
    message = parsed(raw.encode())
    assert message is not None
    return why_not(message, sender, OWN)


@pytest.mark.parametrize("name", AUTOMATIC)
@pytest.mark.parametrize("sender", [None, "anna@example.org"])
def test_what_a_machine_sends_is_not_answered(name: str, sender: str | None) -> None:
    assert asked(AUTOMATIC[name], sender)


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("sender", [None, "anna@example.org"])
def test_what_a_person_sends_is_answered(name: str, sender: str | None) -> None:
    assert asked(ORDINARY[name], sender) == ""


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize(
    "sender", ["", "<>", "mailer-daemon@example.org", "aria@waifu.example", "aria+x@waifu.example"]
)
def test_whoever_brings_it_has_to_be_somebody_else(name: str, sender: str) -> None:
    assert asked(ORDINARY[name], sender)


def test_there_are_many_of_both() -> None:
    assert (len(AUTOMATIC) >= 40, len(ORDINARY) >= 20) == (True, True)


@pytest.mark.parametrize(
    "sender", ["=?utf-8?q?M=C3=BCller=2C_Anna?= <anna@x.de>", '"a@b.c, Anna" <anna@x.de>']
)
def test_a_comma_in_a_name_makes_no_second_sender(sender: str) -> None:
    message = parsed(f"From: {sender}\nSubject: Hi\n\nHello".encode())
    assert message is not None
    assert (why_not(message, None, OWN), read(message, None).sender) == ("", "anna@x.de")
