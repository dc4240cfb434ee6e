"""Where a RabbitMQ is: from a URL, from variables for what that leaves out, else as it comes."""

from __future__ import annotations

import pytest

from waifu_llm.config import ConfigError
from waifu_llm.rabbitmq.address import Address, read_address
from waifu_llm.redaction import Redactor

VARIABLES = {
    "RABBITMQ_HOST": "broker.example",
    "RABBITMQ_PORT": "5673",
    "RABBITMQ_USER": "waifu",
    "RABBITMQ_PASSWORD": "s3cret/@",
    "RABBITMQ_VHOST": "chats",
}
FROM_VARIABLES = Address("broker.example", 5673, "waifu", "s3cret/@", "chats")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://", Address("localhost", 5672, "guest", "guest")),
        ("amqp://guest:guest@127.0.0.1:5680/", Address("127.0.0.1", 5680, "guest", "guest")),
        ("amqps://h", Address("h", 5671, "guest", "guest", tls=True)),
        ("amqp://u:p%2F%40%3A@h/a%2Fb", Address("h", 5672, "u", "p/@:", "a/b")),
        ("amqp://h/%2F", Address("h", 5672, "guest", "guest", "/")),
        ("amqp://[::1]:5673/x", Address("::1", 5673, "guest", "guest", "x")),
        (
            "amqps://h?cafile=/ca.pem&heartbeat=5",
            Address(
                "h",
                5671,
                "guest",
                "guest",
                tls=True,
                options={"cafile": "/ca.pem", "heartbeat": "5"},
            ),
        ),
    ],
)
def test_a_url_says_it_all(url: str, address: Address) -> None:
    assert read_address(url, {}) == address


def test_everything_can_come_from_variables() -> None:
    assert read_address("env", VARIABLES) == FROM_VARIABLES


def test_without_variables_it_is_the_one_on_this_machine() -> None:
    assert read_address("env", {}) == Address("localhost", 5672, "guest", "guest")


def test_what_the_url_leaves_out_comes_from_variables() -> None:
    assert read_address("amqp://waifu@other:1/v", VARIABLES) == Address(
        "other", 1, "waifu", "s3cret/@", "v"
    )


@pytest.mark.parametrize(
    "url",
    ["http://h", "h:5672", "amqp://h:port", "amqp://h:0", "amqp://[::1", "", "amqp://h:99999"],
)
def test_what_is_no_address_is_told_in_words(url: str) -> None:
    with pytest.raises(ConfigError, match="amqp://USER:PASSWORD@HOST:PORT/VHOST"):
        read_address(url, {})


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
def test_a_variable_that_is_no_port_is_named(port: str) -> None:
    with pytest.raises(ConfigError, match="RABBITMQ_PORT"):
        read_address("env", {"RABBITMQ_PORT": port})


def test_what_is_shown_has_no_secret() -> None:
    shown = f"{FROM_VARIABLES} {FROM_VARIABLES!r}"
    assert "broker.example:5673" in shown
    assert "s3cret" not in shown


def test_the_password_is_redacted_as_it_is_and_as_a_url_has_it() -> None:
    redactor = Redactor(FROM_VARIABLES.secrets)
    assert redactor.clean("pw s3cret/@, or s3cret%2F%40.") == "pw ***, or ***."
