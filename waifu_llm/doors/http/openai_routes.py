"""The routes of OpenAI's API."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from functools import partial

from waifu_llm.doors.http import asking, openai_answer
from waifu_llm.doors.http.failures import OPENAI
from waifu_llm.doors.http.naming import Models, Named
from waifu_llm.doors.http.openai import (
    ChatCompletion,
    ChatRequest,
    CompletionRequest,
    Embedding,
    Embeddings,
    EmbeddingsRequest,
    EmbeddingsUsage,
    Model,
    ModelList,
    TextCompletion,
)
from waifu_llm.doors.http.openai_answer import ChatEvents, TextEvents
from waifu_llm.doors.http.openai_request import chat_params, messages_of, text_params
from waifu_llm.doors.http.routes import Exchange, Route
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidModel, Unsupported
from waifu_llm.generation import Final
from waifu_llm.protocol import Generate

EVENTS = "text/event-stream"


class OpenAIRoutes:
    """Asks the engine what OpenAI's clients ask."""

    def __init__(self, engine: Engine, models: Models) -> None:
        self._engine = engine
        self._models = models
        self._since = int(time.time())

    def routes(self) -> list[Route]:
        route = partial(Route, shape=OPENAI, tag="OpenAI")
        return [
            route(
                method="GET",
                path="/v1/models",
                handler=self.list_models,
                summary="The models that are known: profiles, and PROVIDER/MODEL.",
                gives=ModelList,
            ),
            route(
                method="GET",
                path="/v1/models/{id*}",
                handler=self.get_model,
                summary="One of them.",
                gives=Model,
            ),
            route(
                method="POST",
                path="/v1/chat/completions",
                handler=self.chat,
                summary="An answer to a conversation.",
                takes=ChatRequest,
                gives=ChatCompletion,
                streams=EVENTS,
            ),
            route(
                method="POST",
                path="/v1/completions",
                handler=self.complete,
                summary="More of a text.",
                takes=CompletionRequest,
                gives=TextCompletion,
                streams=EVENTS,
            ),
            route(
                method="POST",
                path="/v1/embeddings",
                handler=self.embed,
                summary="A vector for each text.",
                takes=EmbeddingsRequest,
                gives=Embeddings,
            ),
        ]

    async def list_models(self, exchange: Exchange) -> ModelList:
        return ModelList("list", [self._model(each) for each in await self._models.all()])

    async def get_model(self, exchange: Exchange) -> Model:
        return self._model(await self._models.find(exchange.params["id"]))

    def _model(self, named: Named) -> Model:
        owner = "waifu-llm" if named.is_profile else named.provider
        return Model(named.id, "model", self._since, owner)

    async def chat(self, exchange: Exchange) -> ChatCompletion | None:
        asked: ChatRequest = exchange.body
        aim = self._models.aim(asked.model)
        generate = asking.generate(
            aim.provider,
            chat_params(asked, aim.model_id, self._models.spec(aim)),
            messages=messages_of(asked),
            stream=bool(asked.stream),
            session=asked.session,
            helpers=asked.helpers,
        )
        if not asked.stream:
            return openai_answer.chat_completion(
                asked.model, await asking.whole(self._engine, generate)
            )
        words = ChatEvents(asked.model, _counts(asked), asked.reasoning == "send")
        await asking.stream(self._engine, generate, exchange, words)
        return None

    async def complete(self, exchange: Exchange) -> TextCompletion | None:
        asked: CompletionRequest = exchange.body
        aim = self._models.aim(asked.model)
        params = text_params(asked, aim.model_id, self._models.spec(aim))
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        generates = [
            asking.generate(
                aim.provider,
                params,
                prompt=prompt,
                stream=bool(asked.stream),
                session=asked.session,
            )
            for prompt in prompts
        ]
        if not asked.stream:
            return openai_answer.text_completion(asked.model, await self._all(generates))
        if len(generates) > 1:
            raise Unsupported("Of several prompts there is no stream. Send them one by one.")
        words = TextEvents(asked.model, _counts(asked))
        await asking.stream(self._engine, generates[0], exchange, words)
        return None

    async def _all(self, generates: list[Generate]) -> list[Final]:
        """At the same time; when one fails, the others are not wanted any more."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asking.whole(self._engine, each)) for each in generates]
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [task.result() for task in tasks]

    async def embed(self, exchange: Exchange) -> Embeddings:
        asked: EmbeddingsRequest = exchange.body
        if asked.dimensions is not None:
            raise Unsupported("`dimensions` is not supported here. Leave it out.")
        aim = self._models.aim(asked.model)
        if aim.model_id is None:
            raise InvalidModel("Embeddings need a model that is named: PROVIDER/MODEL.")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        made = await asking.embed(self._engine, aim.provider, aim.model_id, texts)
        as_text = asked.encoding_format == "base64"
        data = [
            Embedding("embedding", number, _packed(vector) if as_text else vector)
            for number, vector in enumerate(made.vectors)
        ]
        tokens = made.usage.input_tokens if made.usage else 0
        return Embeddings("list", data, asked.model, EmbeddingsUsage(tokens, tokens))


def _counts(asked: ChatRequest | CompletionRequest) -> bool:
    return bool(asked.stream_options and asked.stream_options.include_usage)


def _packed(vector: list[float]) -> str:
    """As 32-bit floats, the lowest byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
