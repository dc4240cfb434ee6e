"""What is asked often and is not here."""

import openai
import pytest
from test_http_door import table

from waifu_llm.doors.http import not_here
from waifu_llm.doors.http.routes import Table


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/v1/responses", "/v1/chat/completions"),
        ("/v1/responses/abc", "/v1/chat/completions"),
        ("/v1/audio/speech", "speech"),
        ("/v1/images/generations", "data URLs"),
        ("/v1/moderations", "content_filter"),
        ("/v1/responsesx", None),
        ("/v1/chats", "--store sqlite"),
        ("/sms", "docs/channels.md"),
        ("/nowhere", None),
    ],
)
def test_it_is_known_with_all_that_lies_under_it(path, instead):
    found = not_here.find(path, lambda _: {})
    assert instead in found.instead if instead else found is None


def test_what_is_here_is_not_said_to_be_missing():
    here = Table(table()).find
    assert not_here.find("/v1/users/1/nothing", lambda _: {})
    assert not not_here.find("/v1/users/1/nothing", here)
    exact = [route.path for route in table() if "{" not in route.path]
    assert not [path for path in exact if not_here.find(path, here)]


async def test_openais_client_is_told_what_to_do_instead(openai_client):
    for asking in (
        openai_client.responses.create(model="echo/echo", input="hello"),
        openai_client.moderations.create(input="hello"),
        openai_client.images.generate(prompt="a cat"),
        openai_client.audio.speech.create(model="tts-1", voice="alloy", input="hello"),
    ):
        with pytest.raises(openai.NotFoundError, match="here") as caught:
            await asking
        assert caught.value.response.headers["x-should-retry"] == "false"


async def test_a_base_url_without_its_end_is_explained(served):
    got = await served.plain().ask("POST", "/chat/completions", {})
    assert got.status == 404
    assert "end with /v1" in got.json["error"]["message"]


async def test_who_has_no_token_is_told_nothing_of_it(served):
    got = await served.plain(authorization="").ask("POST", "/api/pull", {})
    assert got.status == 401
    assert "models" not in got.json["error"]


async def test_a_room_that_is_closed_says_how_it_is_opened(served):
    got = await served.plain().ask("POST", "/sms", {})
    assert (got.status, "channels.md" in got.json["detail"]) == (404, True)
