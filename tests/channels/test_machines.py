"""Machines, lists and ourselves are told from people."""

from __future__ import annotations

import pytest
from automatic_mails import AUTOMATIC, ORDINARY
from returned_mails import PEOPLE, PROGRAMS, RETURNED

from waifu_llm.channels.mail.machines import why_not, why_not_said
from waifu_llm.channels.mail.reading import parsed, read

OWN = {"aria@waifu.example"}
MACHINES = {**AUTOMATIC, **RETURNED, **PROGRAMS}
PEOPLES = {**ORDINARY, **PEOPLE}


def asked(raw: str, sender: str | None) -> str:
    message = parsed(raw.encode())
    assert message is not None
    return why_not(message, sender, OWN) or why_not_said(read(message, sender).text)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("sender", [None, "anna@example.org"])
def test_what_a_machine_sends_is_not_answered(name: str, sender: str | None) -> None:
    assert asked(MACHINES[name], sender)


@pytest.mark.parametrize("name", PEOPLES)
@pytest.mark.parametrize("sender", [None, "anna@example.org"])
def test_what_a_person_sends_is_answered(name: str, sender: str | None) -> None:
    assert asked(PEOPLES[name], sender) == ""


@pytest.mark.parametrize("name", PEOPLES)
@pytest.mark.parametrize(
    "sender", ["", "<>", "mailer-daemon@example.org", "aria@waifu.example", "aria+x@waifu.example"]
)
def test_whoever_brings_it_has_to_be_somebody_else(name: str, sender: str) -> None:
    assert asked(PEOPLES[name], sender)


def test_there_are_many_of_both() -> None:
    assert (len(MACHINES) >= 140, len(PEOPLES) >= 30) == (True, True)
    assert len(MACHINES) == len(AUTOMATIC) + len(RETURNED) + len(PROGRAMS)


@pytest.mark.parametrize(
    "sender", ["=?utf-8?q?M=C3=BCller=2C_Anna?= <anna@x.de>", '"a@b.c, Anna" <anna@x.de>']
)
def test_a_comma_in_a_name_makes_no_second_sender(sender: str) -> None:
    message = parsed(f"From: {sender}\nSubject: Hi\n\nHello".encode())
    assert message is not None
    assert (why_not(message, None, OWN), read(message, None).sender) == ("", "anna@x.de")
