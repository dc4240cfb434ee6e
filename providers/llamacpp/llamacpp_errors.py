"""What goes wrong with models on this machine. Shared with llamacpp-prebuilt."""

from __future__ import annotations

from waifu_provider import ProviderError


def too_long(count: int, room: int) -> ProviderError:
    return ProviderError(
        "CONTEXT_TOO_LONG",
        f"The prompt has {count} tokens, and there is room for {room}. Leave out the oldest "
        "messages, or load with a larger `context_length`.",
    )


def not_loaded(what: str, said: str) -> ProviderError:
    """llama.cpp says why only in its log."""
    if "alloc" in said or "out of memory" in said:
        text = f"{what}: there is not enough memory. Try a smaller model, `context_length` or "
        return ProviderError("OUT_OF_MEMORY", f"{text}`gpu_layers`. llama.cpp said: {said}")
    return ProviderError("INVALID_MODEL", f"{what}. llama.cpp said: {said or 'nothing'}")
