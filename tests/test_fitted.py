"""A request as its provider sees it, or a refusal: nothing is dropped in silence."""

import pytest

from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params, Penalties, ToolCall
from waifu_llm.errors import InvalidModel, InvalidPrompt, Unsupported
from waifu_llm.fitted import fitted
from waifu_llm.specs import ProviderSpec

TOOL = {"type": "function", "function": {"name": "look"}}


def spec(*capabilities: str) -> ProviderSpec:
    return ProviderSpec(name="vendor", title="Vendor", capabilities=frozenset(capabilities))


def request(prompt=None, messages=(), **params) -> Request:
    return Request(list(messages), Params(**{"model_id": "m", **params}), True, prompt)


async def test_a_model_must_be_named():
    with pytest.raises(InvalidModel, match="No model is named"):
        await fitted(request(model_id=None), spec())


@pytest.mark.parametrize(
    ("params", "capability"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"seed": 0}, "seed"),
        ({"top_p": 0.0}, "top_p"),
        ({"prompt": "Once"}, "prompt"),
    ],
)
async def test_what_a_provider_does_not_take_is_refused_by_name(params, capability):
    with pytest.raises(Unsupported, match=f"`vendor` does not take `{capability}`"):
        await fitted(request(**params), spec())
    await fitted(request(**params), spec(capability))


@pytest.mark.parametrize(
    ("params", "capability"),
    [
        ({"top_p": 1.0}, "top_p"),
        ({"penalties": Penalties(presence=0)}, "presence_penalty"),
        ({"penalties": Penalties(frequency=0)}, "frequency_penalty"),
        ({"penalties": Penalties(repetition=1)}, "repetition_penalty"),
    ],
)
async def test_what_changes_nothing_is_for_those_who_take_it(params, capability):
    without = (await fitted(request(**params), spec())).params
    assert (without.top_p, without.penalties or Penalties()) == (None, Penalties())
    assert (await fitted(request(**params), spec(capability))).params == request(**params).params


async def test_a_penalty_that_changes_something_is_refused_beside_one_that_does_not():
    penalties = Penalties(presence=0, repetition=1.1)
    with pytest.raises(Unsupported, match="repetition_penalty"):
        await fitted(request(penalties=penalties), spec())


async def test_tools_do_not_go_with_a_prompt():
    with pytest.raises(InvalidPrompt, match="`tools` go with `messages`"):
        await fitted(request("Once", tools=[TOOL]), spec("prompt", "tools"))


async def test_another_vendor_s_signature_does_not_reach_it():
    calls = [ToolCall("1", "look", "{}", "other:thought"), ToolCall("2", "look", "{}", "vendor:x")]
    message = Message("assistant", tool_calls=calls)
    (seen,) = (await fitted(request(messages=[message]), spec())).messages
    assert [each.signature for each in seen.tool_calls or []] == [None, "x"]


async def test_what_is_no_business_of_a_provider_stays():
    sent = Request([Message("user", "Hi")], Params(model_id="m"), True, urgency="low")
    assert (await fitted(sent, spec())).urgency == "low"
