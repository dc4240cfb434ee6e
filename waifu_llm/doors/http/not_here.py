"""What clients often ask for and is not here: they are told what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from waifu_llm.doors.http.failures import OLLAMA, OPENAI, OURS, Shape


class NotHere(Struct, frozen=True):
    """A path, and all that lies under it."""

    path: str
    instead: str
    shape: Shape


def find(path: str, here: Callable[[str], Any]) -> NotHere | None:
    """Why there is nothing at this path, where that is known; `here` finds what there is."""
    known = next((each for each in _ALL if _lies_under(path, each.path)), None)
    return None if known and here(known.path) else known


def _lies_under(path: str, upper: str) -> bool:
    return path == upper or path.startswith(f"{upper}/")


_CHAT = "Ask for answers at /v1/chat/completions"
_FETCH = "`waifu-llm models download` fetches one for the local providers, and for those that keep "
_FETCH += "models themselves, as `ollama` does, the message `pull` over the WebSocket"
_PROFILE = "A profile in the configuration is a name of your own for a model, with parameters and a"
_PROFILE += " persona: see docs/keys.md"
_KEPT = "With a store, conversations are kept at /v1/chats: see docs/chats.md"

_OLLAMA = {
    "/api/pull": f"Models are not fetched over HTTP. {_FETCH}.",
    "/api/push": "Models are not published from here.",
    "/api/create": f"Models are not made here. {_PROFILE}.",
    "/api/copy": f"Models are not copied here. {_PROFILE}.",
    "/api/delete": "Models are not deleted over HTTP. `waifu-llm models delete NAME` deletes one of"
    " the local providers; one that Ollama keeps, `ollama rm` there.",
    "/api/blobs": f"Files of models are not taken over HTTP. {_FETCH}.",
    "/v1/api": "Ollama's API begins with /api here: leave the /v1 out of its host.",
}
_OPENAI = {
    "/v1/responses": f"The Responses API is not spoken here. {_CHAT}.",
    "/v1/conversations": f"The Responses API is not spoken here. {_KEPT}.",
    "/v1/messages": f"Anthropic's API is not spoken here. {_CHAT}. The messages of chats need a "
    "store: see docs/chats.md.",
    "/v1/audio": "Nothing is spoken or heard here, models are only asked for text. Send what they "
    "answer to a service for speech.",
    "/v1/realtime": "Nothing is spoken or heard here. Streams of text come from "
    "/v1/chat/completions, or over the WebSocket, where they can be interrupted.",
    "/v1/images": "No pictures are made here. Pictures for a model to look at go with a message of "
    "/v1/chat/completions, as data URLs.",
    "/v1/videos": "No videos are made here.",
    "/v1/moderations": f"Nothing is moderated here. {_CHAT}; what a vendor filters has "
    "`content_filter` as its `finish_reason`.",
    "/v1/files": "No files are kept here. Put what a model is to read into its messages.",
    "/v1/uploads": "No files are kept here. Put what a model is to read into its messages.",
    "/v1/vector_stores": "No vectors are kept here. /v1/embeddings makes them.",
    "/v1/batches": "There are no batches here. What is to be done later is a job, over the "
    "WebSocket: see docs/jobs.md.",
    "/v1/fine_tuning": "Models are not trained here.",
    "/v1/assistants": f"The Assistants API is not spoken here. {_KEPT}.",
    "/v1/threads": f"The Assistants API is not spoken here. {_KEPT}.",
    **{
        path: f"OpenAI's API begins with /v1 here: there is /v1{path}, so let the client's base "
        "URL end with /v1."
        for path in ("/chat/completions", "/completions", "/embeddings", "/models")
    },
}
_CHATS = "No chats are kept. Start the module with `--store sqlite`: see docs/chats.md."
_CHANNEL = "No such channel is set up: see docs/channels.md."
_ROOMS = {
    "/sms": _CHANNEL,
    "/email": _CHANNEL,
    **dict.fromkeys(("/v1/users", "/v1/chats", "/v1/llm_providers", "/v1/llms"), _CHATS),
}
_ALL = [
    *(NotHere(path, instead, OURS) for path, instead in _ROOMS.items()),
    *(NotHere(path, instead, OLLAMA) for path, instead in _OLLAMA.items()),
    *(NotHere(path, instead, OPENAI) for path, instead in _OPENAI.items()),
]
