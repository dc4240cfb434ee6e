"""Assistants: templates of what a job asks, and whom. No I/O, no async.

    {"streams": [{"provider": "openai", "settings": {"model": "gpt-4o"}, "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"insert": "history"},
        {"role": "user", "content": "{query}"}]}]}

Streams run one after the other, and the text of each is `{previous_stream_output}` in the next. A
placeholder is replaced by plain text, once: what stands in its place is never looked through again,
and whatever else has braces stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from waifu_llm.client_json import in_words
from waifu_llm.conversation import Message, Text
from waifu_llm.errors import InvalidMessage, InvalidPrompt
from waifu_llm.jobs.parameters import params_of
from waifu_llm.keys import KeyName

MOST_STREAMS = 16
MOST_MESSAGES = 10_000
MOST_TEXT = 8 * 1024 * 1024
"""What one stream may come to when all is in its place: a template of a line could ask for more
than fits any machine."""
SUMMARIZE = (
    "Sum up the conversation that follows, so that it can be continued by somebody who knows "
    "nothing else of it. Keep names, facts, wishes and what was agreed. Answer with nothing else."
)
_SUMMARY = "What was said before, in short: "
_PLACEHOLDER = re.compile(r"\{(query|previous_stream_output)\}")


Template = Sequence[Mapping[str, Any]]
"""The messages of a stream as they are written: some stand for others."""


class Asks(Struct, frozen=True, kw_only=True):
    """Whom to ask: a provider or a profile, with which settings, and with which stored key."""

    provider: Text
    settings: dict[str, Any] | None = None
    key: KeyName | None = None


class Stream(Asks, frozen=True, kw_only=True):
    """One question to one LLM. Its messages are read one by one: they are of two kinds."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MOST_MESSAGES)]


class Assistant(Struct, frozen=True):
    streams: Annotated[list[Stream], Meta(min_length=1, max_length=MOST_STREAMS)]


class History(Struct, frozen=True, tag_field="insert", tag="history"):
    """Stands for the messages that came with the job."""


class HistorySummary(Struct, frozen=True, tag_field="insert", tag="history_summary", kw_only=True):
    """Stands for what an LLM made of them, and the last ones as they are. Without a provider it is
    the stream's own that is asked."""

    provider: Text | None = None
    settings: dict[str, Any] | None = None
    key: KeyName | None = None
    keep: Annotated[int, Meta(ge=0, le=MOST_MESSAGES)] = 4
    prompt: Annotated[str, Meta(min_length=1)] = SUMMARIZE

    def asks(self, stream: Stream) -> Asks:
        if self.provider:
            return Asks(provider=self.provider, settings=self.settings, key=self.key)
        settings = {**(stream.settings or {}), **(self.settings or {})}
        return Asks(provider=stream.provider, settings=settings, key=self.key or stream.key)

    def part(self, history: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
        """What is summed up, and what stays. A short history stays whole."""
        at = max(0, len(history) - self.keep)
        return history[:at], history[at:]


Entry = Message | History | HistorySummary
INSERTS = ("history", "history_summary")


class Given(Struct, frozen=True):
    """What a stream's template is filled with."""

    query: str
    history: Sequence[Message] = ()
    previous: str = ""
    summary: str = ""


# Reading


def read(template: Any) -> Assistant:
    """
    Raises:
        InvalidMessage: With the place in the template that is wrong.
    """
    assistant: Assistant = _converted(template, Assistant, "assistant")
    for number, stream in enumerate(assistant.streams):
        _check(stream, f"assistant.streams[{number}]")
    return assistant


def _check(stream: Stream, place: str) -> None:
    params_of(stream.settings, f"{place}.settings")
    summaries = 0
    for number, written in enumerate(stream.messages):
        here = f"{place}.messages[{number}]"
        entry = _entry(written, here)
        if isinstance(entry, HistorySummary):
            params_of(entry.settings, f"{here}.settings")
            summaries += 1
    if summaries > 1:
        raise InvalidMessage(f"There is more than one summary of the history, in `{place}`.")


def all_settings(assistant: Assistant) -> Iterator[Mapping[str, Any]]:
    """Those of every stream, and of every summary."""
    for stream in assistant.streams:
        summary = summary_in(stream.messages)
        yield from filter(None, (stream.settings, summary and summary.settings))


def entries(template: Template) -> list[Entry]:
    return [_entry(written, "messages") for written in template]


def summary_in(template: Template) -> HistorySummary | None:
    return next((each for each in entries(template) if isinstance(each, HistorySummary)), None)


def _entry(written: Mapping[str, Any], place: str) -> Entry:
    if "insert" not in written:
        message: Message = _converted(written, Message, place)
        return message
    if written["insert"] not in INSERTS:
        known = ", ".join(INSERTS)
        raise InvalidMessage(f"Nothing of that name can be inserted. Known: {known}, in `{place}`.")
    entry: Entry = _converted(written, History | HistorySummary, place)
    return entry


def _converted(written: Any, kind: Any, place: str) -> Any:
    try:
        return msgspec.convert(written, kind)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        dot = "." if where and not where.startswith("[") else ""
        raise InvalidMessage(f"{what}, in `{place}{dot}{where}`.") from None


# Filling


def ask_for_summary(summary: HistorySummary, given: Given) -> list[Message]:
    """What the LLM is asked that sums up.

    Raises:
        InvalidPrompt: When it is too long.
    """
    old, _ = summary.part(given.history)
    asked = Message("system", summary.prompt)
    _see_that_it_fits([asked], given)
    return [_filled(asked, given), Message("user", "\n".join(map(_line, old)))]


def _line(message: Message) -> str:
    """Whose words they are stands at the margin, where nobody else's can."""
    said = (message.content or "").replace("\n", "\n  ")
    return f"{message.name or message.role}: {said}"


def fill(template: Template, given: Given) -> list[Message]:
    """
    Raises:
        InvalidPrompt: When there is nothing to ask, or too much.
    """
    found = entries(template)
    _see_that_it_fits(found, given)
    messages = [message for entry in found for message in _expand(entry, given)]
    if not messages:
        raise InvalidPrompt(
            "There is nothing to ask: the template inserts a history that is empty."
        )
    return messages


def _expand(entry: Entry, given: Given) -> Sequence[Message]:
    if isinstance(entry, Message):
        return [_filled(entry, given)]
    if isinstance(entry, History):
        return given.history
    _, kept = entry.part(given.history)
    summary = [Message("system", _SUMMARY + given.summary)] if given.summary else []
    return [*summary, *kept]


def _filled(message: Message, given: Given) -> Message:
    if not message.content or "{" not in message.content:
        return message
    values = {"query": given.query, "previous_stream_output": given.previous}
    content = _PLACEHOLDER.sub(lambda match: values[match[1]], message.content)
    return msgspec.structs.replace(message, content=content)


def _see_that_it_fits(found: Sequence[Entry], given: Given) -> None:
    """Counted before anything of it is made."""
    history = sum(map(_size, given.history))
    sizes = list(_sizes(found, given, history))
    messages, text = sum(each[0] for each in sizes), sum(each[1] for each in sizes)
    if messages > MOST_MESSAGES:
        raise InvalidPrompt(f"That comes to {messages} messages; at most {MOST_MESSAGES} are sent.")
    if text > MOST_TEXT:
        raise InvalidPrompt(f"That comes to {text} characters; at most {MOST_TEXT} are sent.")


def _sizes(found: Sequence[Entry], given: Given, history: int) -> Iterator[tuple[int, int]]:
    """How many messages each entry becomes, and how much text."""
    for entry in found:
        if isinstance(entry, Message):
            content = entry.content or ""
            queries, previous = content.count("{query}"), content.count("{previous_stream_output}")
            more = queries * len(given.query) + previous * len(given.previous)
            yield 1, _size(entry) + more
        elif isinstance(entry, History):
            yield len(given.history), history
        else:
            _, kept = entry.part(given.history)
            yield 1 + len(kept), len(given.summary) + sum(map(_size, kept))


def _size(message: Message) -> int:
    return len(message.content or "") + sum(len(image.data) for image in message.images or ())
