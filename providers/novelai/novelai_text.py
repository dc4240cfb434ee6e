"""A request as a text to be continued, for the models that do only that."""

from __future__ import annotations

from novelai_chat import one_line, refuse_tools, turn
from waifu_provider import ProviderError

_KAYRA = {
    "temperature": 1.35,
    "top_k": 15,
    "top_p": 0.85,
    "top_a": 0.1,
    "tail_free_sampling": 0.915,
    "repetition_penalty": 2.8,
    "repetition_penalty_range": 2048,
    "repetition_penalty_slope": 0.02,
    "repetition_penalty_frequency": 0.02,
    "phrase_rep_pen": "aggressive",
    "order": [2, 3, 0, 4, 1],
}
_ERATO = {
    "temperature": 1.0,
    "top_p": 0.95,
    "min_p": 0.035,
    "repetition_penalty": 1.5,
    "repetition_penalty_range": 2240,
    "repetition_penalty_slope": 1.0,
    "phrase_rep_pen": "light",
    "order": [0, 10, 2],
}
_CLIO = {
    "temperature": 1.5,
    "top_k": 10,
    "top_p": 0.75,
    "top_a": 0.08,
    "typical_p": 0.975,
    "tail_free_sampling": 0.967,
    "repetition_penalty": 2.25,
    "repetition_penalty_range": 8192,
    "repetition_penalty_slope": 0.09,
    "repetition_penalty_presence": 0.005,
    "phrase_rep_pen": "very_light",
    "order": [1, 5, 0, 2, 3, 4],
}
MODELS = {"kayra-v1": _KAYRA, "llama-3-erato-v1": _ERATO, "clio-v1": _CLIO}
"""How each draws its words. `order` names what takes part, 0 the temperature and 2 top_p."""

_HEADS = {"llama-3-erato-v1": "<|startoftext|><|reserved_special_token81|>"}
_ALWAYS = {"use_string": True, "min_length": 1, "prefix": "vanilla", "return_full_text": False}
_PENALTIES = {
    "presence": "repetition_penalty_presence",
    "frequency": "repetition_penalty_frequency",
}
_COLDEST = 0.1
_SOMEBODY = "User"
_SPARE_TOKENS = 32
_BYTES_A_TOKEN = 3
"""English has more, Japanese about as many: rather a line too few than one too many."""


def text_of(request, account):
    """The body. Where the client sets no limit, the last sentence is brought to its end."""
    refuse_tools(request)
    length = length_of(request, account)
    room = account.context - length - _SPARE_TOKENS
    told = script(request, room) if request.prompt is None else _end_of(request.prompt, room)
    parameters = {
        **_ALWAYS,
        **MODELS[request.model_id],
        **_asked(request),
        "max_length": length,
        "generate_until_sentence": request.max_output_length is None,
        **(request.extra or {}),
    }
    text = _HEADS.get(request.model_id, "") + told
    return {"input": text, "model": request.model_id, "parameters": parameters}


def length_of(request, account):
    return min(request.max_output_length or account.longest_answer, account.longest_answer)


def tokens_in(text):
    """An estimate: there is no tokenizer here."""
    return len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN + 1


def script(request, room):
    """What is known, and who said what, up to the character's turn. Of a talk that is too long,
    the end."""
    memory, talk = _parted(request.messages)
    lines = [_line(message, request) for message in talk]
    last = f"{character_of(request)}:"
    head = f"{memory}\n***\n" if memory else ""
    room -= tokens_in(head + last)
    kept = []
    while lines and (room := room - tokens_in(lines[-1])) >= 0:
        kept.append(lines.pop())
    if room < 0 and not kept:
        raise ProviderError(
            "CONTEXT_TOO_LONG", "The system message, or the last one, is too long for this model."
        )
    return head + "\n".join([*reversed(kept), last])


def speakers_in(request):
    """All whose turn could follow the character's."""
    named = (_speaker(each, request) for each in request.messages if each["role"] != "system")
    return dict.fromkeys([*named, character_of(request), _SOMEBODY])


def character_of(request):
    return _name(request.character_name) or "Assistant"


def _parted(messages):
    """What the system says at first is known from the beginning."""
    count = 0
    while count < len(messages) and messages[count]["role"] == "system":
        count += 1
    memory = "\n".join((each.get("content") or "").strip() for each in messages[:count])
    return memory, messages[count:]


def _line(message, request):
    text = message.get("content") or ""
    if message["role"] == "system":
        return f"[ {one_line(text)} ]"
    return turn(_speaker(message, request), text)


def _speaker(message, request):
    usual = character_of(request) if message["role"] == "assistant" else _SOMEBODY
    return _name(message.get("name")) or usual


def _name(name):
    return one_line((name or "").replace(":", ""))


def _end_of(text, room):
    data = text.encode("utf-8", "replace")[-room * _BYTES_A_TOKEN :]
    return data.decode("utf-8", "ignore")


def _asked(request):
    asked = {"top_p": request.top_p}
    if request.temperature is not None:
        asked["temperature"] = max(_COLDEST, request.temperature)
    penalties = request.penalties or {}
    asked |= {field: penalties.get(name) for name, field in _PENALTIES.items()}
    return {name: value for name, value in asked.items() if value is not None}
