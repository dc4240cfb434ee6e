import re

import pytest

from waifu_llm import errors
from waifu_llm.errors import Unexpected, from_code


def test_the_tree_in_the_docstring_shows_every_class_with_its_number():
    drawn = re.findall(r"^[├└]── (\w+) +(\d+) +\S", errors.__doc__, re.MULTILINE)
    defined = [(kind.__name__, str(kind.number)) for kind in errors.BY_CODE.values()]
    assert drawn == defined


def test_the_numbers_are_1_to_22_each_once():
    assert sorted(kind.number for kind in errors.BY_CODE.values()) == list(range(1, 23))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (1, "UNEXPECTED"),
        (2, "AUTHORIZATION"),
        (3, "INVALID_PROMPT"),
        (4, "INVALID_PROVIDER"),
        (5, "INVALID_MODEL"),
        (6, "TIMEOUT"),
        (7, "INTERRUPT"),
        (8, "NOT_LOADED"),
        (9, "INVALID_MESSAGE"),
        (10, "RATE_LIMITED"),
        (11, "OVERLOADED"),
        (12, "PROVIDER_CRASHED"),
        (13, "INSTALL_FAILED"),
        (14, "NOT_INSTALLED"),
        (15, "UNAVAILABLE"),
        (16, "CONTEXT_TOO_LONG"),
        (17, "CONTENT_FILTERED"),
        (18, "QUOTA_EXCEEDED"),
        (19, "OUT_OF_MEMORY"),
        (20, "UNSUPPORTED"),
        (21, "FORBIDDEN"),
        (22, "BUSY"),
    ],
)
def test_each_number_of_the_protocol_has_its_code(number, code):
    assert errors.BY_CODE[code].number == number


def test_what_passes_by_itself_may_be_tried_again_and_nothing_else():
    retryable = {code for code, kind in errors.BY_CODE.items() if kind.retryable}
    assert retryable == {
        "TIMEOUT",
        "RATE_LIMITED",
        "OVERLOADED",
        "PROVIDER_CRASHED",
        "INSTALL_FAILED",
        "UNAVAILABLE",
        "BUSY",
    }


@pytest.mark.parametrize("code", list(errors.BY_CODE))
def test_a_known_code_becomes_its_class(code):
    error = from_code(code, "words", 250)
    assert type(error).code == code
    assert (error.message, str(error), error.retry_after_ms) == ("words", "words", 250)


@pytest.mark.parametrize("code", ["", "NONSENSE", "timeout", "SUCCESS", "Timeout"])
def test_an_unknown_code_becomes_unexpected_and_keeps_the_message(code):
    error = from_code(code, "words")
    assert type(error) is Unexpected
    assert (error.message, error.retry_after_ms) == ("words", None)
