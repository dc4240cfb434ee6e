"""A job that the end of the module kept from being done, taken up out of the store."""

from __future__ import annotations

import msgspec

from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, Unavailable
from waifu_llm.jobs import work
from waifu_llm.jobs.job import Job
from waifu_llm.jobs.store import StoredJob
from waifu_llm.jobs.work import Work

MOST_STARTS = 3


def taken_up(stored: StoredJob, engine: Engine) -> Job:
    """
    Raises:
        WaifuError: When it cannot be done any more.
    """
    if stored.attempts >= MOST_STARTS:
        raise Unavailable(
            f"The module ended {MOST_STARTS} times before this job was done. It is not begun "
            "once more."
        )
    todo = _read(stored)
    if todo.needs_key_of_connection:
        raise Unavailable(
            "The module was started anew. This job used a key that its client had brought, "
            "and such a key is never kept: add the job again, or store the key."
        )
    loads = [step.load(engine) for step in todo.steps]
    return Job(stored, todo.client, todo.priority, loads, taken_up=True)


def _read(stored: StoredJob) -> Work:
    try:
        return work.read(stored.body)
    except msgspec.MsgspecError as exc:
        raise InvalidMessage(f"What is kept of it cannot be read: {exc}.") from None
