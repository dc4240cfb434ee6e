"""What a few vendors understand and our own parameters have no word for.

It goes to a provider as `extra`, in the words of its API. A provider that has no such words
refuses it: an answer that was to be another one is worse than none.
"""

from __future__ import annotations

from typing import Any

from waifu_llm.errors import Unsupported
from waifu_llm.specs import ProviderSpec

_OPENAIS = "openai_wire"
"""The folder of code that speaks OpenAI's API, for whoever shares it."""


def speaks_openai(spec: ProviderSpec) -> bool:
    return any(folder.name == _OPENAIS for folder in spec.code)


def as_extra(spec: ProviderSpec, wishes: dict[str, Any]) -> dict[str, Any]:
    """
    Raises:
        Unsupported: With what this provider has no word for.
    """
    if not wishes or speaks_openai(spec):
        return wishes
    if set(wishes) == {"reasoning_effort"} and spec.installs_as == "ollama":
        return {"think": wishes["reasoning_effort"]}
    named = " and ".join(f"`{name}`" for name in wishes)
    raise Unsupported(f"`{spec.name}` does not take {named}. Leave it out.")
