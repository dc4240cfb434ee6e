"""A client of the plain kind: blocking, its own reply queue, nothing of ours."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from typing import Any

import pika

ANSWER_SECONDS = 30.0
QUEUE = "instruction_queue"


class PlainClient:
    """As tutorials write it: declares the queue, sends, and waits at a queue of its own."""

    def __init__(self, url: str, queue: str = QUEUE, patience: float = ANSWER_SECONDS) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._queue = queue
        self._patience = patience
        self._channel.queue_declare(queue=queue, durable=True)
        declared = self._channel.queue_declare(queue="", exclusive=True)
        self.answers_to: str = declared.method.queue
        self._channel.basic_consume(self.answers_to, self._hear, auto_ack=True)
        self.heard: list[tuple[pika.BasicProperties, Any]] = []

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(pika.exceptions.AMQPError):  # the broker may have gone first
            self._connection.close()

    def send(self, body: Any, **properties: Any) -> str:
        """Returns the correlation id."""
        given = {"reply_to": self.answers_to, "correlation_id": str(uuid.uuid4()), **properties}
        self._channel.basic_publish(
            exchange="",
            routing_key=self._queue,
            properties=pika.BasicProperties(**given),
            body=body if isinstance(body, bytes) else json.dumps(body),
        )
        return str(given["correlation_id"])

    def wait_whole(self, count: int = 1) -> list[tuple[pika.BasicProperties, Any]]:
        """The next so many answers, with what came with them."""
        until = time.monotonic() + self._patience
        while len(self.heard) < count and time.monotonic() < until:
            self._connection.process_data_events(time_limit=0.1)
        assert len(self.heard) >= count, f"{len(self.heard)} answers of {count} came"
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken

    def wait(self, count: int = 1) -> list[Any]:
        return [answer for _, answer in self.wait_whole(count)]

    def ask(self, type: str, data: Any = None, **properties: Any) -> Any:
        self.send({"type": type, "data": data}, **properties)
        return self.wait()[0]

    def depth(self, queue: str) -> int:
        """How many messages wait there."""
        return int(self._channel.queue_declare(queue=queue, passive=True).method.message_count)

    def get(self, queue: str) -> tuple[pika.BasicProperties, bytes]:
        _, properties, body = self._channel.basic_get(queue, auto_ack=True)
        assert properties is not None, f"nothing is in {queue}"
        return properties, body

    def _hear(self, _: Any, __: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self.heard.append((properties, json.loads(body)))
