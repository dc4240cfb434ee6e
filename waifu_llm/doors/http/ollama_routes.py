"""The routes of Ollama's API."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

from waifu_llm.config import Config
from waifu_llm.doors.http import asking, ollama_answer
from waifu_llm.doors.http.failures import OLLAMA
from waifu_llm.doors.http.messages import TEXT, Answer
from waifu_llm.doors.http.naming import Aim, Models
from waifu_llm.doors.http.ollama import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    KeepAlive,
    RunningModels,
    Shared,
    Shown,
    ShowRequest,
    Tags,
    Version,
)
from waifu_llm.doors.http.ollama_answer import GenerateLines, Lines
from waifu_llm.doors.http.ollama_models import moment, running, shown, tags
from waifu_llm.doors.http.ollama_request import (
    messages_of,
    messages_of_prompt,
    params_of,
    see_that_it_can_be,
)
from waifu_llm.doors.http.routes import Exchange, Route
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, InvalidModel, Unsupported
from waifu_llm.protocol import Generate
from waifu_llm.version import __version__

LINES = "application/x-ndjson"
_AS_CURL_SENDS_IT = ("application/json", "application/x-www-form-urlencoded", "")
_SPOKEN_VERSION = "0.12.0"
"""Of Ollama's API: clients look at it before they use what came late."""
_NOTHING = re.compile(r"0+(\.0*)?(ns|us|ms|s|m|h)?")
"""A time that is none, as Ollama's API writes times."""


class OllamaRoutes:
    """Asks the engine what Ollama's clients ask."""

    def __init__(self, engine: Engine, models: Models, config: Config) -> None:
        self._engine = engine
        self._models = models
        self._config = config
        self._since = moment(time.time())

    def routes(self) -> list[Route]:
        route = partial(Route, shape=OLLAMA, tag="Ollama")
        post = partial(route, method="POST", content_types=_AS_CURL_SENDS_IT)
        return [
            route(
                method="GET",
                path="/",
                handler=self.be_there,
                needs="nothing",
                summary="That somebody is there, as clients of Ollama look for it.",
                media_type=TEXT,
            ),
            route(
                method="GET",
                path="/api/version",
                handler=self.version,
                summary="The version of Ollama's API that is spoken.",
                gives=Version,
            ),
            route(
                method="GET",
                path="/api/tags",
                handler=self.tags,
                summary="The models that are known: profiles, and PROVIDER/MODEL.",
                gives=Tags,
            ),
            route(
                method="GET",
                path="/api/ps",
                handler=self.running,
                summary="What is loaded.",
                gives=RunningModels,
            ),
            post(
                path="/api/show",
                handler=self.show,
                summary="What a model can do.",
                takes=ShowRequest,
                gives=Shown,
            ),
            post(
                path="/api/chat",
                handler=self.chat,
                summary="An answer to a conversation; a stream unless `stream` is false.",
                takes=ChatRequest,
                gives=ChatResponse,
                streams=LINES,
            ),
            post(
                path="/api/generate",
                handler=self.generate,
                summary="An answer to a prompt; a stream unless `stream` is false.",
                takes=GenerateRequest,
                gives=GenerateResponse,
                streams=LINES,
            ),
            post(
                path="/api/embed",
                handler=self.embed,
                summary="A vector for each text.",
                takes=EmbedRequest,
                gives=EmbedResponse,
            ),
            post(
                path="/api/embeddings",
                handler=self.embed_one,
                summary="A vector for one text, as it was asked for before /api/embed.",
                takes=EmbeddingsRequest,
                gives=EmbeddingsResponse,
            ),
        ]

    # What there is

    async def be_there(self, exchange: Exchange) -> Answer:
        return Answer(body=b"Ollama is running", media_type=TEXT)

    async def version(self, exchange: Exchange) -> Version:
        return Version(f"{_SPOKEN_VERSION}-waifu-llm.{__version__}")

    async def tags(self, exchange: Exchange) -> Tags:
        return tags(await self._models.all(), self._since)

    async def show(self, exchange: Exchange) -> Shown:
        asked: ShowRequest = exchange.body
        name = asked.model or asked.name
        if not name:
            raise InvalidMessage("Missing `model`: the name of one.")
        return shown(name, self._models.spec(self._models.aim(name)), self._since)

    async def running(self, exchange: Exchange) -> RunningModels:
        freed = moment(time.time() + self._config.idle_seconds)
        return running(self._engine.status()["loads"], freed)

    # Answers

    async def chat(self, exchange: Exchange) -> ChatResponse | None:
        asked: ChatRequest = exchange.body
        aim = self._models.aim(asked.model)
        if not asked.messages:
            return ollama_answer.nothing_but(await self._keep(aim, asked), asked.model)
        generate = self._generate(asked, aim, messages=messages_of(asked), helpers=asked.helpers)
        lines = Lines(asked.model, bool(asked.think))
        if generate.stream:
            await asking.stream(self._engine, generate, exchange, lines)
            return None
        final = await asking.whole(self._engine, generate)
        return ollama_answer.chat_response(asked.model, final)

    async def generate(self, exchange: Exchange) -> GenerateResponse | None:
        asked: GenerateRequest = exchange.body
        see_that_it_can_be(asked)
        aim = self._models.aim(asked.model)
        if not asked.prompt:
            reason = await self._keep(aim, asked)
            return ollama_answer.nothing_generated_but(reason, asked.model)
        if asked.raw:
            generate = self._generate(asked, aim, prompt=asked.prompt)
        else:
            generate = self._generate(asked, aim, messages=messages_of_prompt(asked))
        lines = GenerateLines(asked.model, bool(asked.think))
        if generate.stream:
            await asking.stream(self._engine, generate, exchange, lines)
            return None
        final = await asking.whole(self._engine, generate)
        return ollama_answer.generate_response(asked.model, final)

    def _generate(self, asked: Shared, aim: Aim, **what: Any) -> Generate:
        params = params_of(asked, aim.model_id, self._models.spec(aim))
        stream = asked.stream is not False
        return asking.generate(aim.provider, params, stream=stream, **what)

    async def _keep(self, aim: Aim, asked: Shared) -> str:
        """Without anything to answer it is a wish to have the model ready, or not any more. How
        long else what nobody uses stays is the operator's to say."""
        if _is_nothing(asked.keep_alive):
            self._engine.free(aim.provider, aim.model_id)
            return "unload"
        async with asking.guest_with(self._engine, aim.provider, aim.model_id):
            return "load"

    # Vectors

    async def embed(self, exchange: Exchange) -> EmbedResponse:
        asked: EmbedRequest = exchange.body
        if asked.dimensions is not None:
            raise Unsupported("`dimensions` is not supported here. Leave it out.")
        begun = time.perf_counter_ns()
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors, tokens = await self._vectors(asked.model, texts)
        took = time.perf_counter_ns() - begun
        return EmbedResponse(asked.model, vectors, took, 0, tokens)

    async def embed_one(self, exchange: Exchange) -> EmbeddingsResponse:
        asked: EmbeddingsRequest = exchange.body
        vectors, _ = await self._vectors(asked.model, [asked.prompt])
        return EmbeddingsResponse(vectors[0])

    async def _vectors(self, model: str, texts: list[str]) -> tuple[list[list[float]], int]:
        aim = self._models.aim(model)
        if aim.model_id is None:
            raise InvalidModel("Embeddings need a model that is named: PROVIDER/MODEL.")
        if not texts:
            return [], 0
        made = await asking.embed(self._engine, aim.provider, aim.model_id, texts)
        return made.vectors, made.usage.input_tokens if made.usage else 0


def _is_nothing(keep_alive: KeepAlive) -> bool:
    return keep_alive == 0 or bool(_NOTHING.fullmatch(str(keep_alive)))
