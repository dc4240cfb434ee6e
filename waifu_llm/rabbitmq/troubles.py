"""What goes wrong with a RabbitMQ, in sentences for people."""

from __future__ import annotations

import ssl

from aio_pika import exceptions
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
from pamqp.exceptions import PAMQPException

from waifu_llm.rabbitmq.address import Address


def explain(exc: BaseException, address: Address) -> str:
    """What went wrong, in a sentence, and never with the password."""
    if isinstance(exc, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return f"The RabbitMQ at {address} refuses the user `{address.user}` or the password."
    # aiormq takes the broker's refusal to open a virtual host for a frame that cannot be.
    if isinstance(exc, ConnectionNotAllowed | exceptions.InvalidFrameError):
        return (
            f"The RabbitMQ at {address} has no virtual host `{address.vhost}`, or the user "
            f"`{address.user}` may not use it."
        )
    if isinstance(exc, exceptions.ChannelClosed) and not isinstance(exc, ChannelAccessRefused):
        return f"The RabbitMQ at {address} closed the channel: {exc}."
    if isinstance(exc, ChannelAccessRefused):
        return f"The user `{address.user}` may not use that queue of the RabbitMQ at {address}."
    if isinstance(exc, ssl.SSLError) or isinstance(exc.__cause__, ssl.SSLError):
        return f"TLS with the RabbitMQ at {address} failed: {exc}."
    if isinstance(exc, exceptions.IncompatibleProtocolError | PAMQPException):
        return f"What answers at {address} is no RabbitMQ."
    if isinstance(exc, TimeoutError):
        return f"The RabbitMQ at {address} takes too long to answer."
    why = str(exc) if isinstance(exc, OSError) else ""
    return f"No RabbitMQ answers at {address} ({why or type(exc).__name__})."
