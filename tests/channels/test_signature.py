"""Signatures as Twilio publishes them."""

from __future__ import annotations

import pytest

from waifu_llm.channels.sms.signature import is_signed, is_signed_body, signature

TOKEN, URL = "12345", "https://mycompany.com/myapp.php?foo=1&bar=2"
PAIRS = [
    ("To", "+18005551212"),
    ("CallSid", "CA1234567890ABCDE"),
    ("From", "+14158675309"),
    ("Digits", "1234"),
    ("Caller", "+14158675309"),
]
"""Of Twilio's guide, and of the tests of its libraries."""


def test_the_published_example_is_right() -> None:
    assert signature(TOKEN, URL, PAIRS) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_a_parameter_that_comes_several_times_counts_each_value_once() -> None:
    pairs = [("Sid", "CA123"), ("SidAccount", "AC123"), *[("Digits", each) for each in "ab"]]
    pairs[2:] = [("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
    assert signature(TOKEN, URL, pairs) == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


def test_the_published_example_of_a_body_is_right() -> None:
    body = b'{"property": "value", "boolean": true}'
    digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    query = f"foo=1&bar=2&bodySHA256={digest}"
    given = TOKEN, URL, query
    assert is_signed_body(*given, body, "a9nBmqA0ju/hNViExpshrM61xv4=")
    assert not is_signed_body(*given, body + b" ", "a9nBmqA0ju/hNViExpshrM61xv4=")
    assert not is_signed_body(*given, body, "a9nBmqA0ju/hNViExpshrM61xv5=")


@pytest.mark.parametrize(
    ("told", "signed"),
    [
        ("https://a.example/sms", "https://a.example/sms"),
        ("https://a.example/sms", "https://a.example:443/sms"),
        ("https://a.example:8443/sms", "https://a.example/sms"),
        ("http://a.example/sms", "http://a.example:80/sms"),
    ],
)
def test_the_port_may_be_left_out(told: str, signed: str) -> None:
    assert is_signed(TOKEN, told, "", PAIRS, signature(TOKEN, signed, PAIRS))


@pytest.mark.parametrize("shown", ["", "x", "ü", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "\ud800"])
def test_what_is_no_signature_at_all_is_refused(shown: str) -> None:
    assert not is_signed(TOKEN, URL, "", PAIRS, shown)
