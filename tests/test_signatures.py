"""A vendor's hidden thoughts go back to that vendor, and to no other."""

import msgspec
import pytest

from waifu_llm import signatures
from waifu_llm.backend import Result
from waifu_llm.conversation import Message, ToolCall

CALL = ToolCall("1", "look", "{}")
SIGNED = ToolCall("1", "look", "{}", "secret:thought")


def told(*calls):
    return Message("assistant", tool_calls=list(calls))


def test_what_a_provider_signed_it_sees_again_as_it_was():
    result = signatures.marked(Result("tool_calls", tool_calls=[SIGNED, CALL]), "gemini")
    (message,) = signatures.own([told(*result.tool_calls)], "gemini")
    assert message.tool_calls == [SIGNED, CALL]


@pytest.mark.parametrize("provider", ["anthropic", "gem", "gemini2", ""])
def test_nobody_else_sees_it(provider):
    result = signatures.marked(Result("tool_calls", tool_calls=[SIGNED]), "gemini")
    (message,) = signatures.own([told(*result.tool_calls)], provider)
    assert message.tool_calls == [CALL]


@pytest.mark.parametrize("signature", ["", "null", "thought", ":thought", "other:thought"])
def test_what_no_provider_of_ours_signed_is_sent_to_none(signature):
    foreign = msgspec.structs.replace(CALL, signature=signature)
    assert signatures.own([told(foreign)], "gemini") == [told(CALL)]


def test_messages_without_calls_are_left_alone():
    messages = [Message("user", "hi"), Message("tool", "rain", tool_call_id="1")]
    assert signatures.own(messages, "gemini") == messages
    assert signatures.marked(Result(), "gemini") == Result()
