"""A request as a provider should see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from waifu_llm import names, signatures
from waifu_llm.backend import Request
from waifu_llm.conversation import Params, Penalties
from waifu_llm.errors import InvalidModel, InvalidPrompt, Unsupported
from waifu_llm.specs import Capability, ProviderSpec

_MUCH_TEXT = 256 * 1024

_USES: dict[Capability, Callable[[Request], bool]] = {
    "images": lambda request: any(message.images for message in request.messages),
    "tools": lambda request: bool(request.params.tools),
    "response_format": lambda request: request.params.response_format is not None,
    "top_p": lambda request: request.params.top_p is not None,
    "seed": lambda request: request.params.seed is not None,
    "presence_penalty": lambda request: _penalties(request).presence is not None,
    "frequency_penalty": lambda request: _penalties(request).frequency is not None,
    "repetition_penalty": lambda request: _penalties(request).repetition is not None,
    "prompt": lambda request: request.prompt is not None,
}


_CHANGES_NOTHING = {"presence": 0, "frequency": 0, "repetition": 1}


def _penalties(request: Request) -> Penalties:
    return request.params.penalties or Penalties()


async def fitted(request: Request, spec: ProviderSpec) -> Request:
    """As below; where there is much to look through, others are served meanwhile."""
    much = sum(len(message.content or "") for message in request.messages) > _MUCH_TEXT
    return await asyncio.to_thread(_fit, request, spec) if much else _fit(request, spec)


def _fit(request: Request, spec: ProviderSpec) -> Request:
    """The request as this provider should see it, or a refusal: nothing is dropped in silence."""
    request = msgspec.structs.replace(request, params=_plain(request.params, spec.capabilities))
    if not request.params.model_id:
        raise InvalidModel(
            "No model is named: send `params.model_id`, or ask a profile that names one."
        )
    for capability, uses in _USES.items():
        if capability not in spec.capabilities and uses(request):
            raise Unsupported(f"`{spec.name}` does not take `{capability}`.")
    params = request.params
    if request.prompt is not None and params.tools:
        raise InvalidPrompt("`tools` go with `messages`, not with a `prompt`.")
    messages = names.apply(
        signatures.own(request.messages, spec.name),
        params.names or "auto",
        params.character_name,
        has_field="names" in spec.capabilities,
    )
    return msgspec.structs.replace(request, messages=messages, helpers=False)  # all lent by now


def _plain(params: Params, taken: frozenset[Capability]) -> Params:
    """Without what this provider does not take and would change nothing: many clients always send
    all that they know."""
    if params.top_p == 1 and "top_p" not in taken:
        params = msgspec.structs.replace(params, top_p=None)
    if not params.penalties:
        return params
    kept = {
        name: value
        for name, value in msgspec.structs.asdict(params.penalties).items()
        if f"{name}_penalty" in taken or value != _CHANGES_NOTHING[name]
    }
    return msgspec.structs.replace(params, penalties=Penalties(**kept))
