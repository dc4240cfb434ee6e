import json
import logging
import re

import pytest

from waifu_llm.redaction import HIDDEN, RedactingFilter, Redactor


@pytest.fixture
def written():
    return []


@pytest.fixture
def log(written):
    """A log that keeps what a handler would write."""

    class Handler(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler = Handler()
    handler.addFilter(RedactingFilter(Redactor(["sk-secret"])))
    log = logging.Logger("any")
    log.addHandler(handler)
    return log


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-secret", "key ***"),
        ("sk-secret", "***"),
        ("sk-secretsk-secret", "******"),
        ("https://a?key=sk-secret&b", "https://a?key=***&b"),
        ('{"k":"sk-secret"}', '{"k":"***"}'),
        ("nothing", "nothing"),
        ("SK-SECRET", "SK-SECRET"),
        ("", ""),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(text, clean):
    assert Redactor(["sk-secret"]).clean(text) == clean


def test_a_secret_is_hidden_from_when_it_is_learnt():
    redactor = Redactor()
    assert redactor.clean("sk-late") == "sk-late"
    redactor.learn(["sk-late"])
    assert redactor.clean("sk-late") == HIDDEN


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_what_is_too_short_to_be_a_secret_hides_nothing(short):
    assert Redactor([short]).clean("abc abc") == "abc abc"


def test_all_secrets_are_hidden():
    assert Redactor(["first", "second"]).clean("first, second") == "***, ***"


def test_nothing_is_left_of_a_secret_that_begins_with_another():
    whole = "sk-0123456789-0123456789-0123456789-0123456789"
    beginnings = [whole[:size] for size in range(4, len(whole) + 1)]
    assert Redactor(beginnings).clean(f"key {whole}!") == "key ***!"


def test_a_log_hides_secrets_in_messages_and_their_arguments(log, written):
    log.error("key sk-secret")
    log.error("%s and %r", "sk-secret", {"key": "sk-secret"})
    assert written == ["key ***", "*** and {'key': '***'}"]


def test_a_log_hides_secrets_in_tracebacks(log, written):
    try:
        raise ValueError("refused sk-secret")
    except ValueError:
        log.exception("failed")
    assert re.fullmatch(r"failed\nTraceback .*ValueError: refused \*\*\*", written[0], re.DOTALL)


def test_a_log_writes_percent_signs_as_they_are(log, written):
    log.error("%s%% of %s", 5, "sk-secret %d")
    assert written == ["5% of *** %d"]


@pytest.mark.parametrize("text", ["key", "key\n", " key \n", "BEGIN\nkey1\n", "a\r\nkey1"])
def test_a_secret_is_hidden_line_for_line(text):
    redactor = Redactor([text.replace("key", "sk-secret")])
    assert "sk-secret" not in redactor.clean("key sk-secret1!")


@pytest.mark.parametrize("secret", ['quo"ted', "back\\slash", "sla/shed", "größer/か"])
def test_a_secret_is_hidden_as_json_spells_it(secret):
    written = json.dumps(secret)
    for each in (written, written.replace("/", "\\/")):
        assert Redactor([secret]).clean(f'{{"k": {each}}}') == f'{{"k": "{HIDDEN}"}}'


def test_what_was_read_is_cleaned_in_all_its_parts():
    redactor = Redactor(['a"b\\c', "12345", "nope"])
    told = {"x": ['a"b\\c', 'it is "a\\"b\\\\c"', 12345, 1.5, None, True], 'a"b\\c!': "\nope"}
    assert redactor.clean_within(told) == {
        "x": [HIDDEN, f'it is "{HIDDEN}"', HIDDEN, 1.5, None, True],
        f"{HIDDEN}!": "\nope",
    }


def test_what_has_no_secret_is_left_as_it_is():
    told = {"x": ["y"] * 3}
    assert Redactor(["secret"]).clean_within(told) is told


def test_what_nobody_can_look_into_is_hidden():
    deep = "secret"
    for _ in range(2000):
        deep = [deep]
    assert Redactor(["secret"]).clean_within(deep) == HIDDEN
