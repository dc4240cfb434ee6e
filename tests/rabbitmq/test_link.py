"""The connection to a RabbitMQ, as far as no broker is needed for it."""

from __future__ import annotations

import threading
import warnings

import aio_pika
import pytest
from yarl import URL

from waifu_llm.rabbitmq.link import Connection


def thrown_away(kind: type[aio_pika.Connection]) -> list[str]:
    """What is said when one goes that was never open, in a thread that has no loop."""
    connections = [kind(URL("amqp://127.0.0.1:1/"))]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        thread = threading.Thread(target=connections.clear)
        thread.start()
        thread.join()
    return [str(each.message) for each in said]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_connection_is_thrown_away_in_silence() -> None:
    assert thrown_away(Connection) == []
    assert "never awaited" in thrown_away(aio_pika.Connection)[0]
