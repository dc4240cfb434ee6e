"""The conformance run's look at what a provider declares that it takes: each is really sent once.

What is not declared needs no look: the core refuses it, or does it itself.
"""

from __future__ import annotations

import json
from typing import Any

from waifu_llm.backend import Request
from waifu_llm.conversation import Image, Message, Params, Penalties
from waifu_llm.errors import Unsupported
from waifu_llm.specs import Capability
from waifu_llm.trial import SHORT, Answer, Failed, Skipped, Trial

_SYSTEM = "You are a friendly companion. Answer in one short sentence."
_DOT = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5Er"
    "kJggg=="
)
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}
_SAID = {
    "type": "json_schema",
    "json_schema": {
        "name": "said",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"said": {"type": "string"}},
            "required": ["said"],
            "additionalProperties": False,
        },
    },
}


async def parameters(trial: Trial) -> None:
    """All of them at once, with a system message and a name."""
    declared = trial.subject.spec.capabilities
    numbers: dict[str, Any] = {"top_p": 0.9, "seed": 7}
    penalties = {"presence": 0.1, "frequency": 0.1, "repetition": 1.1}
    taken = {name: value for name, value in penalties.items() if f"{name}_penalty" in declared}
    params = Params(
        model_id=trial.model_id,
        temperature=0.5,
        max_output_length=256,
        stop_tokens=["@@@"],
        penalties=Penalties(**taken) if taken else None,
        **{name: numbers[name] for name in numbers.keys() & declared},
    )
    name = "DEV" if "names" in declared else None
    await trial.answer_to(
        Request([Message("system", _SYSTEM), Message("user", SHORT, name)], params, True)
    )


async def images(trial: Trial) -> None:
    _see_that_it_declares(trial, "images")
    message = Message("user", "Which colour is this?", images=[Image("image/png", _DOT)])
    await _answer_of_a_model_that_can(trial, _asking(trial, [message]))


async def tools(trial: Trial) -> None:
    """A call is answered, so that its way back is seen as well."""
    _see_that_it_declares(trial, "tools")
    question = Message("user", "Which weather is it in Oslo? Use your tool.")
    asked = _asking(trial, [question], tools=[_WEATHER])
    answer = await _answer_of_a_model_that_can(trial, asked)
    if not answer.tool_calls:
        return
    for call in answer.tool_calls:
        _see_that_it_is_an_object(call.arguments, f"the arguments of `{call.name}`")
    results = [
        Message("tool", "Rain.", tool_call_id=call.id or call.name) for call in answer.tool_calls
    ]
    called = Message("assistant", answer.text or None, tool_calls=answer.tool_calls)
    await trial.answer_to(_asking(trial, [question, called, *results], tools=[_WEATHER]))


async def response_format(trial: Trial) -> None:
    _see_that_it_declares(trial, "response_format")
    message = Message("user", "Say hello, as JSON.")
    answer = await trial.answer_to(_asking(trial, [message], response_format=_SAID))
    _see_that_it_is_an_object(answer.text, "an answer that was to be JSON")


async def prompt(trial: Trial) -> None:
    _see_that_it_declares(trial, "prompt")
    params = Params(model_id=trial.model_id, max_output_length=16)
    await trial.answer_to(Request([], params, True, "Once upon a time"))


async def embeddings(trial: Trial) -> None:
    _see_that_it_declares(trial, "embeddings")
    model_id = trial.subject.embed_model_id
    if not model_id:
        raise Skipped("No model was named for it.")
    process = await trial.loaded()
    made = await trial.within(process.embed(model_id, ["Hello.", "Goodbye."]), "No vectors came")
    lengths = {len(vector) for vector in made.vectors}
    if len(made.vectors) != 2 or len(lengths) != 1 or 0 in lengths:
        raise Failed("For two texts there should be two vectors of one length.")


async def _answer_of_a_model_that_can(trial: Trial, request: Request) -> Answer:
    """A provider may have models that can, and others."""
    try:
        return await trial.answer_to(request)
    except Unsupported as error:
        raise Skipped(f"This model takes none: {error.message}") from None


def _see_that_it_declares(trial: Trial, capability: Capability) -> None:
    if capability not in trial.subject.spec.capabilities:
        raise Skipped("It does not declare it.")


def _asking(trial: Trial, messages: list[Message], **params: Any) -> Request:
    return Request(messages, Params(model_id=trial.model_id, **params), True)


def _see_that_it_is_an_object(text: str, what: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Failed(f"Here {what} is no JSON object: {text[:80]!r}")
