"""Our answers in the words of OpenAI's API: whole ones, and the events of streams."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from waifu_llm import conversation
from waifu_llm.doors.http.failures import OPENAI
from waifu_llm.doors.http.openai import (
    ChatChoice,
    ChatCompletion,
    Said,
    SaidCall,
    SaidFunction,
    TextChoice,
    TextCompletion,
    Usage,
)
from waifu_llm.doors.http.streams import Kind
from waifu_llm.errors import WaifuError
from waifu_llm.generation import Final

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


def new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(12)}"


def usage_of(*counted: conversation.Usage | None) -> Usage | None:
    """Nothing where a provider did not count."""
    known = [each for each in counted if each]
    if not known or len(known) < len(counted):
        return None
    given = sum(each.input_tokens for each in known)
    made = sum(each.output_tokens for each in known)
    return Usage(given, made, given + made)


def calls_of(final: Final) -> list[SaidCall]:
    return [
        SaidCall(
            each.id, "function", SaidFunction(each.name, each.arguments), each.signature or UNSET
        )
        for each in final.tool_calls or ()
    ]


def chat_completion(model: str, final: Final) -> ChatCompletion:
    calls = calls_of(final)
    said = Said(
        "assistant",
        None if calls and not final.response else final.response,
        None,
        calls or UNSET,
        final.reasoning or UNSET,
    )
    choice = ChatChoice(0, said, final.finish_reason)
    return ChatCompletion(
        new_id("chatcmpl"),
        "chat.completion",
        int(time.time()),
        model,
        [choice],
        usage_of(final.usage),
    )


def text_completion(model: str, finals: Sequence[Final]) -> TextCompletion:
    choices = [
        TextChoice(number, final.response, final.finish_reason)
        for number, final in enumerate(finals)
    ]
    used = usage_of(*(final.usage for final in finals))
    now = int(time.time())
    return TextCompletion(new_id("cmpl"), "text_completion", now, model, choices, used)


class Events:
    """The words of a stream: server-sent events, each one object."""

    media_type = "text/event-stream; charset=utf-8"
    sign_of_life = b": still there\n\n"

    def __init__(self, kind: str, object: str, model: str, counts: bool) -> None:
        now = int(time.time())
        self._head = {"id": new_id(kind), "object": object, "created": now, "model": model}
        self._usage = {"usage": None} if counts else {}
        self._counts = counts

    def failure(self, error: WaifuError) -> bytes:
        """Without the word that all is done: it is not."""
        return b"data: %b\n\n" % _encode(OPENAI(error))

    def _event(self, choice: dict[str, object]) -> bytes:
        return b"data: %b\n\n" % _encode({**self._head, "choices": [choice], **self._usage})

    def _frame(self, before: bytes, choice: dict[str, object]) -> tuple[bytes, bytes]:
        """An event of this choice in two parts, for the text between them: what `before` ends
        with. Made once for a stream."""
        head, found, tail = self._event(choice).partition(before + b'""')
        assert found
        return head + before, tail

    def _used(self, final: Final) -> bytes:
        if not self._counts:
            return b""
        used = usage_of(final.usage)
        return b"data: %b\n\n" % _encode({**self._head, "choices": [], "usage": used})


class ChatEvents(Events):
    """Of a chat."""

    def __init__(self, model: str, counts: bool, tells_thoughts: bool) -> None:
        super().__init__("chatcmpl", "chat.completion.chunk", model, counts)
        self.tells_thoughts = tells_thoughts
        self._frames: dict[Kind, tuple[bytes, bytes]] = {
            "speech": self._frame(b'"content":', _delta({"content": ""})),
            "thought": self._frame(b'"reasoning_content":', _delta({"reasoning_content": ""})),
        }

    def opening(self) -> bytes:
        return self._event(_delta({"role": "assistant", "content": ""}))

    def piece(self, kind: Kind, text: str) -> bytes:
        head, tail = self._frames[kind]
        return b"%b%b%b" % (head, _encode(text), tail)

    def closing(self, final: Final) -> bytes:
        calls = [
            {"index": number, **msgspec.to_builtins(each)}
            for number, each in enumerate(calls_of(final))
        ]
        called = self._event(_delta({"tool_calls": calls})) if calls else b""
        end = self._event(_delta({}, final.finish_reason))
        return called + end + self._used(final) + _DONE


class TextEvents(Events):
    """Of a completion."""

    tells_thoughts = False

    def __init__(self, model: str, counts: bool) -> None:
        super().__init__("cmpl", "text_completion", model, counts)
        self._text = self._frame(b'"text":', _text())

    def opening(self) -> bytes:
        return b""

    def piece(self, kind: Kind, text: str) -> bytes:
        head, tail = self._text
        return b"%b%b%b" % (head, _encode(text), tail)

    def closing(self, final: Final) -> bytes:
        return self._event(_text(final.finish_reason)) + self._used(final) + _DONE


def _delta(said: dict[str, object], reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "delta": said, "logprobs": None, "finish_reason": reason}


def _text(reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}
