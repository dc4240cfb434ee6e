"""Whom the door lets in, without a socket."""

from functools import partial

import pytest

from waifu_llm.config import Config
from waifu_llm.doors.http.messages import Head
from waifu_llm.doors.http.server import HttpDoor

BEARER = {"authorization": ["Bearer wrong"]}


class Connection:
    """One that is idle, or asks, and may be known."""

    def __init__(self, *, is_idle=False, is_stranger=False):
        self.is_idle = is_idle
        self.is_stranger = is_stranger
        self.aborted = False

    def abort(self):
        self.aborted = True

    def finish(self): ...


Idle = partial(Connection, is_idle=True)
Stranger = partial(Connection, is_stranger=True)


def door_for(most):
    door = HttpDoor(Config(max_connections=most), "right", [])
    door.know_port(80)
    return door


@pytest.fixture
async def door():
    return door_for(2)


async def test_the_idle_give_way_and_then_strangers_and_nobody_else(door):
    busy, stranger, idle = Connection(), Stranger(), Idle()
    assert [door.arrive(each) for each in (stranger, idle)] == [None, None]
    assert door.arrive(busy) is None
    assert (idle.aborted, stranger.aborted) == (True, False)
    assert door.arrive(Connection()) is None
    assert stranger.aborted
    assert "max_connections" in door.arrive(Connection())
    assert not busy.aborted


async def test_many_who_come_at_once_each_have_one_give_way(door):
    first = [Stranger(), Stranger()]
    for each in (*first, Stranger(), Stranger()):
        door.arrive(each)
    assert all(each.aborted for each in first)
    assert door.connections == 2


async def test_who_comes_while_we_close_is_told_so(door):
    door.take_no_more()
    assert "shutting down" in door.arrive(Connection())


def head(**headers):
    headers = {"host": ["127.0.0.1:80"], **headers}
    return Head("GET", "/healthz", headers, "127.0.0.1")


async def test_who_shows_no_token_does_not_wait_for_who_guesses(door):
    for _ in range(5):
        assert door.plan(head(**BEARER)).delay == 0
    assert door.plan(head(**BEARER)).delay > 0
    assert door.plan(head()).delay == 0


async def test_of_the_body_of_one_who_is_refused_little_is_read(door):
    plan = door.plan(head(authorization=["Bearer right"]))
    assert plan.refusal.status == 404
    assert plan.limit < Config().max_message_bytes
