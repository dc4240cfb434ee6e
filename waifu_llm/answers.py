"""Every message that the module sends: objects in, bytes out. No I/O, no async.

Two spellings live side by side. A Dialect remembers how one connection spells, and answers in
kind: providers under the name that they were asked by, ids where ids were given, errors as
numbers until the client shows that it knows them by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.generation import Final
from waifu_llm.protocol import About, Add, Cancel, Generate, Instruction, Load, Pull

_encode = msgspec.json.Encoder().encode

Fields = dict[str, Any]
_NOTHING_DONE: Fields = {"status": "error", "data": {}}
_SHOW_NAMES = ("hello", "get_providers", "get_models")
_SHOW_NAMES_WITH_ID = ("load", "interrupt", "close")


class Dialect:
    """How one connection spells."""

    def __init__(self) -> None:
        self._named_errors = False
        self._complete_finals = False

    def hear(self, type: str, has_id: bool) -> None:
        """Learn from a message that came."""
        if type in _SHOW_NAMES or (has_id and type in _SHOW_NAMES_WITH_ID):
            self._named_errors = True
        if type == "hello" or (has_id and type == "load"):
            self._complete_finals = True

    # Answers to anything

    def ack(self, asked: Any, **fields: Any) -> bytes:
        """`X_ack` for the message X."""
        return _encode({"type": f"{asked.type}_ack", **_echo(asked), **fields})

    def done(self, asked: Any, **fields: Any) -> bytes:
        """`X_done` for the message X, when it went well."""
        short = asked.type == "load" and not self._named_errors  # just as it was first specified
        success = {} if short else self._success()
        return _encode({"type": f"{asked.type}_done", **_echo(asked), **success, **fields})

    def refused(self, asked: Any, error: WaifuError, **fields: Any) -> bytes:
        """`X_done` for the message X, when it did not."""
        nothing = _NOTHING_DONE if asked.type == "instruction" else {}
        return _encode(
            {
                "type": f"{asked.type}_done",
                **_echo(asked),
                **self._failure(error),
                **nothing,
                **fields,
            }
        )

    def error(self, error: WaifuError, about: About) -> bytes:
        """For what has no final of its own."""
        return _encode({"type": "error", **_echo(about), **_of_job(about), **self._failure(error)})

    # Answers to `instruction`

    def instruction_done(self, asked: Instruction, answer: Mapping[str, Any]) -> bytes:
        """What came of it, under the outcome that every answer has."""
        if answer["status"] == "success":
            outcome = self._success()
        else:  # which error it was is known unless the answer has been kept
            outcome = self._failure(getattr(answer, "error", InvalidMessage(answer["message"])))
        return _encode({"type": "instruction_done", **_echo(asked), **outcome, **answer})

    # Answers to `generate`

    def generate_failed(self, about: About, error: WaifuError) -> bytes:
        """The final of a `generate` that could not be read."""
        kind = "generate_stream_done" if about.stream else "generate_done"
        response = {} if about.stream and not self._complete_finals else self._no_response()
        echo = {"unique_request_id": about.unique_request_id}
        whole = _nothing(about) if self._complete_finals else {}
        return _encode({"type": kind, **echo, **self._failure(error), **response, **whole})

    def final(self, asked: Generate, final: Final) -> bytes:
        outcome = self._failure(final.error) if final.error else self._success()
        return _encode(
            {
                "type": "generate_stream_done" if asked.stream else "generate_done",
                "unique_request_id": asked.id,
                **outcome,
                **self._response(asked, final),
                **(_whole(final) if self._complete_finals else {}),
            }
        )

    def _response(self, asked: Generate, final: Final) -> Fields:
        if self._complete_finals:
            return {"response": final.response}
        if asked.stream:
            return {}
        return self._no_response() if final.error else {"response": final.response}

    def _no_response(self) -> Fields:
        return {"response": "" if self._named_errors else None}

    # Outcomes

    def _success(self) -> Fields:
        return {"is_error": False, "error": "SUCCESS" if self._named_errors else 0}

    def _failure(self, error: WaifuError) -> Fields:
        fields: Fields = {
            "is_error": True,
            "error": error.code if self._named_errors else error.number,
            "message": error.message,
            "retryable": error.retryable,
        }
        if error.retry_after_ms is not None:
            fields["retry_after_ms"] = error.retry_after_ms
        return fields


def progress(asked: Load | Pull, phase: str, fraction: float, message: str) -> bytes:
    """`X_progress` for the message X."""
    told = {"phase": phase, "fraction": fraction, "message": message}
    return _encode({"type": f"{asked.type}_progress", **_echo(asked), **told})


def interrupted(ids: Iterable[str]) -> Fields:
    """What an `interrupt_ack` adds for those who gave an id."""
    return {"interrupted": list(ids)}


def piece_prefix(type: str, id: str) -> bytes:
    """All of a chunk's message but the text, made once for a stream; `piece` adds the text."""
    field = "reasoning" if type == "generate_stream_reasoning" else "chunk"
    head = _encode({"type": type, "unique_request_id": id})
    return head[:-1] + f',"{field}":'.encode()


def piece(prefix: bytes, text: str) -> bytes:
    return b"%b%b}" % (prefix, _encode(text))


# Answers to `add`, `listen` and `cancel`


def job_accepted(asked: Add, job_id: str) -> bytes:
    return _encode({"type": "resp_add", **_echo(asked), "id": asked.id, "job_id": job_id})


def job_cancelled(asked: Cancel) -> bytes:
    return _encode({"type": "cancelled", **_echo(asked), "job_id": asked.job_id})


def job_pending(job_id: str, place: int) -> bytes:
    return _encode({"type": "pending", "job_id": job_id, "place": place})


def job_prefix(job_id: str) -> bytes:
    """All of a `running` but its text, to be given to `piece`."""
    return _encode({"type": "running", "job_id": job_id})[:-1] + b',"message":'


def job_done(job_id: str) -> bytes:
    return _encode({"type": "done", "job_id": job_id})


def job_failed(job_id: str, message: str) -> bytes:
    return _encode({"type": "failed", "job_id": job_id, "message": message})


def _echo(asked: Any) -> Fields:
    """What was said of it, said back: the id, and the provider as it was named."""
    fields: Fields = {}
    if asked.unique_request_id is not None:
        fields["unique_request_id"] = asked.unique_request_id
    for spelling in ("provider", "llm"):
        if (name := getattr(asked, spelling, None)) is not None:
            fields[spelling] = name
    return fields


def _of_job(about: About) -> Fields:
    """Which job it was about: in the client's word for it, or in ours."""
    ids = {"id": about.id, "job_id": about.job_id}
    return {name: id for name, id in ids.items() if id is not None}


def _whole(final: Final) -> Mapping[str, Any]:
    return {
        "finish_reason": final.finish_reason,
        "provider": final.provider,
        "model_id": final.model_id,
        "usage": final.usage,
        "timing": final.timing,
        "tool_calls": final.tool_calls,
        **({} if final.reasoning is None else {"reasoning": final.reasoning}),
    }


def _nothing(about: About) -> Fields:
    """The same fields for a request that never began."""
    nothing = dict.fromkeys(("model_id", "usage", "timing", "tool_calls"))
    return {"finish_reason": "error", "provider": about.provider or about.llm, **nothing}
