"""A request of ours in Gemini's words."""

from __future__ import annotations

from waifu_messages import arguments_of, spoken, system_text
from waifu_provider import ProviderError

_ROLES = {"user": "user", "tool": "user", "assistant": "model"}
_HOTTEST = 2.0
_MOST_STOPS = 5


def body_of(request, thinking):
    """`thinking` is how the model is told to think, or not to; None where it needs no telling."""
    contents, system = _conversation(request.messages)
    body = {"contents": contents, "generationConfig": _config(request, thinking)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if request.tools:
        body["tools"] = _tools(request.tools)
    return _with(body, request.extra or {})


def _config(request, thinking):
    penalties = request.penalties or {}
    config = {
        "temperature": request.temperature and min(request.temperature, _HOTTEST),
        "topP": request.top_p,
        "seed": request.seed,
        "presencePenalty": penalties.get("presence"),
        "frequencyPenalty": penalties.get("frequency"),
        "maxOutputTokens": request.max_output_length,
        "stopSequences": (request.stop_tokens or [])[:_MOST_STOPS] or None,
        "thinkingConfig": thinking,
        **_format(request.response_format),
    }
    return {name: value for name, value in config.items() if value is not None}


def _format(wanted):
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return {}
    if kind not in ("json_schema", "json_object"):
        raise ProviderError("UNSUPPORTED", f"There is no `response_format` {kind} here.")
    json_type = {"responseMimeType": "application/json"}
    if kind == "json_object":
        return json_type
    return {**json_type, "responseJsonSchema": wanted["json_schema"]["schema"]}


def _tools(tools):
    """One that is not a function is the vendor's own, in its own words."""
    declared = [_declaration(each["function"]) for each in tools if each.get("type") == "function"]
    others = [each for each in tools if each.get("type") != "function"]
    return [*([{"functionDeclarations": declared}] if declared else []), *others]


def _declaration(function):
    said = {name: function[name] for name in ("name", "description") if name in function}
    if function.get("parameters"):
        said["parametersJsonSchema"] = function["parameters"]
    return said


def _conversation(messages):
    """Turns alternate here, and what the system says stands before them."""
    system = system_text(messages)
    names = {call["id"]: call["name"] for each in messages for call in each.get("tool_calls") or []}
    turns = []
    for message in messages:
        if message["role"] == "system":
            continue
        role, parts = _ROLES[message["role"]], _parts(message, names)
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    if not turns and system:
        return [{"role": "user", "parts": [{"text": system}]}], None
    return spoken(turns), system


def _parts(message, names):
    images = [_image(image) for image in message.get("images") or []]
    if message["role"] == "tool":
        return [_result(message, names), *images]
    parts = [{"text": message["content"]}] if message.get("content") else []
    return images + parts + [_call(call) for call in message.get("tool_calls") or []]


def _image(image):
    return {"inlineData": {"mimeType": image["mime"], "data": image["data"]}}


def _call(call):
    function = {"id": call["id"], "name": call["name"], "args": arguments_of(call)}
    part = {"functionCall": function}
    if call.get("signature"):
        part["thoughtSignature"] = call["signature"]
    return part


def _result(message, names):
    """A result is an object here, and says which function it is of."""
    id, text = message["tool_call_id"], message.get("content") or ""
    if id not in names:
        raise ProviderError("INVALID_PROMPT", f"There is no call {id} that this is a result of.")
    response = {"name": names[id], "id": id, "response": {"result": text}}
    return {"functionResponse": response}


def _with(body, extra):
    """What the client adds to a table is added to ours."""
    merged = dict(body)
    for name, value in extra.items():
        ours = merged.get(name)
        both = isinstance(ours, dict) and isinstance(value, dict)
        merged[name] = _with(ours, value) if both else value
    return merged
