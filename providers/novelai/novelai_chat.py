"""Who speaks, written before what is said."""

from __future__ import annotations

from dataclasses import replace

from waifu_provider import ProviderError


def as_chat(request):
    """For the chat models, which know no names. The character's own is not written: the model
    would write it, too."""
    refuse_tools(request)
    return replace(request, messages=[_without_name(each) for each in request.messages])


def refuse_tools(request):
    if any(each["role"] == "tool" or each.get("tool_calls") for each in request.messages):
        raise ProviderError("UNSUPPORTED", "NovelAI has no tools: leave out their calls.")


def turn(name, text):
    """One line, so that no text can begin another one's turn."""
    return f"{name}: {one_line(text)}"


def one_line(text):
    return " ".join(" ".join(text.splitlines()).split())


def _without_name(message):
    name, text = message.get("name"), message.get("content") or ""
    told = turn(name, text) if name and message["role"] == "user" else text
    return {"role": message["role"], "content": told}
