"""The description of the routes."""

import re

import pytest
from test_http_door import table

from waifu_llm.channels import channel
from waifu_llm.channels.mail.channel import MailChannel
from waifu_llm.channels.mail.settings import MailSettings
from waifu_llm.channels.sms.channel import SmsChannel, SmsSettings
from waifu_llm.doors.http.channel_routes import channel_routes
from waifu_llm.doors.http.openapi import describe


def test_every_route_is_described_once():
    described = describe(table())
    operations = [
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    ]
    assert sorted(operations) == sorted(
        (route.method, re.sub(r"\*}", "}", route.path)) for route in table()
    )
    ids = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert len(set(ids)) == len(ids)


def test_what_is_referred_to_is_there():
    described = describe(table())
    known = described["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/([\w.-]+)", str(described)):
        assert name in known


def test_who_needs_the_token_is_told():
    for route in table():
        path = re.sub(r"\*}", "}", route.path)
        operation = describe(table())["paths"][path][route.method.lower()]
        assert ("security" in operation) is (route.needs == "token")


def test_what_stands_in_the_path_is_not_asked_for_in_the_body():
    described = describe(table())
    operation = described["paths"]["/v1/chats/{chat_id}/messages"]["post"]
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    fields = described["components"]["schemas"][name]["properties"]
    assert "user_input" in fields
    assert "chat_id" not in fields


def test_who_is_not_ready_says_it_in_the_same_words():
    answers = describe(table())["paths"]["/readyz"]["get"]["responses"]
    assert answers["503"]["content"] == answers["200"]["content"]


CHANNELS = [
    (SmsChannel, "sms", SmsSettings(), "/sms", {"user_id", "phone_number", "message"}),
    (MailChannel, "email", MailSettings(), "/email", {"user_id", "email", "subject", "body"}),
]


@pytest.mark.parametrize(("kind", "name", "settings", "path", "fields"), CHANNELS)
def test_what_a_channel_takes_and_gives_is_described(kind, name, settings, path, fields):
    described = describe(channel_routes(kind(name, settings, {}).routes()))
    operation, known = described["paths"][path]["post"], described["components"]["schemas"]
    taken = operation["requestBody"]["content"]["application/json"]["schema"]
    assert set(known[taken["$ref"].split("/")[-1]]["required"]) == fields
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(known[given["$ref"].split("/")[-1]]["required"]) == {"result", "metadata"}


def test_what_twilio_sends_and_is_answered_is_described():
    described = describe(channel_routes(SmsChannel("sms", SmsSettings(), {}).routes()))
    operation = described["paths"]["/sms"]["post"]
    assert "application/x-www-form-urlencoded" in operation["requestBody"]["content"]
    assert "text/xml" in operation["responses"]["200"]["content"]


def test_a_channel_of_ones_own_need_not_say_what_it_takes():
    route = channel.Route("/own", lambda headers: "token", None)
    operation = describe(channel_routes([route]))["paths"]["/own"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "object"


def test_what_is_asked_behind_the_path_has_its_type():
    (limit,) = (
        each
        for each in describe(table())["paths"]["/v1/users"]["get"]["parameters"]
        if each["name"] == "limit"
    )
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 10_000}


async def test_it_is_served_to_who_has_the_token(served):
    got = await served.plain().ask("GET", "/openapi.json")
    assert got.json["openapi"] == "3.1.0"
    assert "/v1/chat/completions" in got.json["paths"]


async def test_the_page_runs_its_own_script_alone_and_asks_nobody_else(served):
    got = await served.plain(authorization="").ask("GET", "/docs")
    policy = got.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert b"http" not in got.body.replace(b"/openapi.json", b"").split(b"<h1>")[0]
    assert served.token.encode() not in got.body
