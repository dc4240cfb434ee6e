"""The checker of the soak's channels: it finds what is lost, doubled, crossed or disobeyed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "channels"))  # the fakes of mail and Twilio

from soak.channel_ledger import GRACE_SECONDS, Heard, Ledger, Person
from soak.history import Violation

ANNA = ("sms", "anna")


def said(number: int) -> str:
    """What she asked, and hears as the answer."""
    anna = Person(*ANNA)
    return [anna.asks().text for _ in range(number + 1)][-1]


def talked() -> Ledger:
    """Anna asks five times, says STOP in between, and is answered as is due."""
    ledger = Ledger()
    anna = ledger.person(*ANNA)
    for at in (1.0, 2.0, 3.0):
        anna.asks().taken = at
    anna.asks(is_stopped=True).taken = 5.0
    anna.stops.append((4.0, 10.0))
    anna.asks().taken = 11.0
    anna.heard = [Heard(said(0), "<0>", 1.5), Heard(said(1), "<1>", 2.5)]
    anna.heard.append(Heard(said(4), "<4>", 11.5))
    return ledger


def test_what_is_due_is_found_to_be_so() -> None:
    due = {"answered": 3, "under way at STOP": 1, "after STOP": 1}
    assert talked().check(Counter()) == due


def test_what_the_store_does_not_know_is_maybe() -> None:
    ledger = talked()
    ledger.person(*ANNA).heard.pop()
    assert ledger.check(Counter({ANNA: 1}))["maybe"] == 1


def test_a_mail_may_be_brought_again_under_its_id() -> None:
    ledger = talked()
    ledger.person(*ANNA).heard.append(Heard(said(4), "<4>", 12.0))
    assert ledger.check(Counter())["brought again"] == 1


BREAKS: dict[str, Callable[[Person], object]] = {
    "lost": lambda anna: anna.heard.pop(),
    "lost before one that was answered": lambda anna: anna.heard.pop(0),
    "answered twice": lambda anna: anna.heard.append(Heard(said(4), "<5>", 12.0)),
    "answered twice by SMS": lambda anna: anna.heard.append(Heard(said(4), "", 12.0)),
    "another's": lambda anna: anna.heard.append(Heard("bert 0", "<9>", 12.0)),
    "out of order": lambda anna: anna.heard.reverse(),
    "an answer to what was written after STOP": lambda anna: anna.heard.insert(
        2, Heard(said(3), "<3>", 11.2)
    ),
    "said after STOP": lambda anna: anna.heard.insert(
        2, Heard(said(2), "<2>", 4.0 + GRACE_SECONDS + 0.1)
    ),
}


@pytest.mark.parametrize("how", BREAKS)
def test_what_is_not_due_is_found(how: str) -> None:
    ledger = talked()
    BREAKS[how](ledger.person(*ANNA))
    with pytest.raises(Violation):
        ledger.check(Counter())


def test_what_left_before_a_stop_was_heard_may_arrive() -> None:
    ledger = talked()
    ledger.person(*ANNA).heard.insert(2, Heard(said(2), "<2>", 4.5))
    assert ledger.check(Counter())["answered"] == 4
