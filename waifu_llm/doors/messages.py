"""What one client says over its socket: messages in, calls to the engine, answers out.

The loop that reads never waits for an answer: what takes time is a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from waifu_llm import answers, protocol
from waifu_llm.answers import Dialect
from waifu_llm.client_json import MAX_DEPTH
from waifu_llm.config import Config
from waifu_llm.doors.frames import FrameWriter, Stream, Whole
from waifu_llm.doors.instruction_messages import InstructionMessages
from waifu_llm.doors.job_messages import JobMessages
from waifu_llm.doors.replies import Replies, fault
from waifu_llm.doors.trust import Trust
from waifu_llm.engine import Engine
from waifu_llm.errors import Forbidden, InvalidMessage, Unavailable, WaifuError
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.jobs.runner import Jobs
from waifu_llm.protocol import About, Malformed
from waifu_llm.version import __version__

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions

FEATURES = [
    *("reasoning", "session", "load_progress", "unload", "status", "tools", "images"),
    *("prompt", "embed", "pull", "jobs"),
]
_HAVE_ACKS = ("load", "pull")
_HAVE_FINALS = (
    *("hello", "get_providers", "get_models", "load", "unload", "generate", "embed", "pull"),
    *("get_assistants", "status", "instruction"),
)


class Conversation:
    """One client: what it says, done; what comes of it, answered."""

    def __init__(
        self,
        engine: Engine,
        jobs: Jobs,
        writer: FrameWriter,
        config: Config,
        trust: Trust,
        close_module: Callable[[], None],
        instructions: Instructions | None,
        status_of_doors: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._engine = engine
        self._guest: Guest = engine.enter()
        self._writer = writer
        self._config = config
        self._trust = trust
        self._close_module = close_module
        self._status_of_doors = status_of_doors
        self._dialect = Dialect()
        self._replies = Replies(writer, self._dialect)
        self._jobs = jobs
        self._job_messages = JobMessages(jobs, self._guest, self._replies, writer, trust)
        self._instructions = InstructionMessages(
            instructions,
            self._replies,
            writer,
            self._dialect,
            lambda: trust.has_token,
            config.max_waiting,
        )
        self._handlers: dict[type, Callable[[Any], None]] = {
            protocol.Hello: self._hello,
            protocol.GetProviders: self._get_providers,
            protocol.GetModels: self._get_models,
            protocol.Load: self._load,
            protocol.Unload: self._unload,
            protocol.Generate: self._unless_in_use(self._generate),
            protocol.Embed: self._embed,
            protocol.Pull: self._pull,
            protocol.Interrupt: self._interrupt,
            protocol.Status: self._status,
            protocol.Close: self._close,
            **self._job_messages.handlers,
            protocol.Instruction: self._unless_in_use(self._instructions.begin),
        }

    def take(self, data: bytes) -> None:
        """One message. Returns at once, and raises nothing."""
        try:
            asked = protocol.decode(data, self._config.max_message_bytes)
            self._dialect.hear(asked.type, asked.unique_request_id is not None)
            self._handlers[type(asked)](asked)
        except Malformed as malformed:
            self._answer_malformed(malformed.error, malformed.about)
        except Exception as exc:
            self._replies.error(fault(exc), About())
        self._writer.flush()

    def token_in(self, data: bytes) -> str | None:
        """The token that a `hello` brings."""
        try:
            asked = protocol.decode(data, self._config.max_message_bytes)
        except Malformed:
            return None
        self._dialect.hear(asked.type, asked.unique_request_id is not None)
        return asked.token if isinstance(asked, protocol.Hello) else None

    def forbid(self, data: bytes, message: str) -> None:
        about = protocol.read_about(data)
        self._writer.send_now(self._dialect.error(Forbidden(message), about))

    async def finish(self) -> None:
        """Until every request has its final, and all was sent or will never be."""
        await self._instructions.finish()
        await self._job_messages.finish()
        await self._replies.finish()

    def leave(self) -> None:
        self._job_messages.leave()
        self._replies.leave()
        self._instructions.leave()
        self._engine.leave(self._guest)

    # What can be asked

    def _unless_in_use(self, begin: Callable[[Any], None]) -> Callable[[Any], None]:
        """An id is its request's, until that is answered."""

        def begin_or_refuse(asked: protocol.Generate | protocol.Instruction) -> None:
            if not self._is_live(asked.id):
                begin(asked)
                return
            why = f"`{asked.id}` is the id of a request that is still under way. It goes on; "
            error = InvalidMessage(why + "give each request an id of its own.")
            self._replies.error(error, About(unique_request_id=asked.id))

        return begin_or_refuse

    def _hello(self, asked: protocol.Hello) -> None:
        if asked.token and not self._trust.has_token:
            self._trust.has_token = self._trust.is_token(asked.token)
        limits = {
            "max_message_bytes": self._config.max_message_bytes,
            "max_depth": MAX_DEPTH,
            "max_waiting": self._config.max_waiting,
            "max_waiting_per_provider": self._config.max_waiting_per_provider,
            "max_jobs": self._config.max_jobs,
            "max_jobs_per_client": self._config.max_jobs_per_client,
        }
        self._replies.done(
            asked,
            protocol=protocol.PROTOCOL_VERSION,
            version=__version__,
            boot_id=self._engine.boot_id,
            features=[*FEATURES, *self._instructions.features, *self._lent_features],
            limits=limits,
        )

    @property
    def _lent_features(self) -> list[str]:
        return ["helpers"] if self._engine.has_helpers else []

    def _get_providers(self, asked: protocol.GetProviders) -> None:
        self._replies.done(asked, providers=self._engine.providers())

    def _get_models(self, asked: protocol.GetModels) -> None:
        async def find() -> dict[str, Any]:
            return {"models": await self._guest.holdings.models(asked.provider_name)}

        self._replies.later(asked, find())

    def _load(self, asked: protocol.Load) -> None:
        self._replies.ack(asked)
        loading = self._guest.holdings.load(_asked(asked), self._progress(asked))

        async def finish() -> dict[str, Any]:
            await asyncio.wait([loading])
            if loading.cancelled():  # before its first step
                raise Unavailable("The load was given up.")
            loading.result()
            return {}

        self._replies.later(asked, finish())

    def _progress(self, asked: protocol.Load | protocol.Pull) -> Any:
        if not asked.progress:
            return _nobody_asked
        return lambda *told: self._writer.send_now(answers.progress(asked, *told))

    def _unload(self, asked: protocol.Unload) -> None:
        try:
            self._guest.holdings.unload(asked.provider_name)
        except WaifuError as error:
            self._replies.refused(asked, error)
        else:
            self._replies.done(asked)

    def _generate(self, asked: protocol.Generate) -> None:
        final = partial(self._dialect.final, asked)
        thinks_aloud = asked.params.reasoning == "send"
        listener = (
            Stream(self._writer, asked.id, thinks_aloud, final)
            if asked.stream
            else Whole(self._writer, final)
        )
        self._guest.generate(asked, listener)
        self._replies.ack(About("generate", asked.id))

    def _embed(self, asked: protocol.Embed) -> None:
        work = self._guest.works.embed(asked)

        async def finish() -> dict[str, Any]:
            made = await work.result()
            return {"embeddings": made.vectors, "usage": made.usage}

        self._replies.later(asked, finish())

    def _pull(self, asked: protocol.Pull) -> None:
        self._replies.ack(asked)
        work = self._guest.works.pull(asked, self._progress(asked))

        async def finish() -> dict[str, Any]:
            await work.result()
            return {}

        self._replies.later(asked, finish())

    def _interrupt(self, asked: protocol.Interrupt) -> None:
        stopped = [each.id for each in self._guest.interrupt(asked.target, asked.session)]
        if asked.target is not None or asked.session is None:
            stopped += [each.id for each in self._instructions.interrupt(asked.target)]
        fields = answers.interrupted(id for id in stopped if id is not None)
        self._replies.ack(asked, **(fields if asked.unique_request_id else {}))

    def _status(self, asked: protocol.Status) -> None:
        status = {**self._engine.status(), "jobs": self._jobs.status(), **self._status_of_doors()}
        self._replies.done(asked, **status)

    def _close(self, asked: protocol.Close) -> None:
        if not self._trust.may_close:
            error = Forbidden("Only a client on the module's own machine may close it.")
            self._replies.error(error, _about(asked))
            return
        self._writer.send_now(self._dialect.ack(asked))
        self._close_module()

    def _answer_malformed(self, error: WaifuError, about: About) -> None:
        """As the final of the request that it was to be, where that can be told."""
        if about.type in protocol.TYPES:
            self._dialect.hear(about.type, about.unique_request_id is not None)
        named = about.unique_request_id is not None and about.type in _HAVE_FINALS
        if not named or self._is_live(about.unique_request_id):
            self._replies.error(error, about)
            return
        if about.type == "generate":
            self._replies.ack(About("generate", about.unique_request_id))
            self._writer.send(self._dialect.generate_failed(about, error))
            return
        if about.type in _HAVE_ACKS:
            self._replies.ack(about)
        self._replies.refused(about, error)

    def _is_live(self, id: str | None) -> bool:
        return self._guest.is_live(id) or self._instructions.is_live(id)


def _nobody_asked(phase: str, fraction: float, message: str) -> None: ...


def _asked(load: protocol.Load) -> Asked:
    settings = {**(load.settings or {})}
    for name in ("api_key", "base_url"):
        if value := getattr(load, name):
            settings[name] = value
    assert load.provider_name is not None
    model_id, key = load.preload_model_id or None, load.key or None
    return Asked(load.provider_name, settings, model_id, load.alias, key)


def _about(asked: protocol.AnyMessage) -> About:
    return About(asked.type, asked.unique_request_id)
