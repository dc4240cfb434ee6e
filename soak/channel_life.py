"""A real module with three channels and a store: killed, and started again at the same ports."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from fake_twilio import ACCOUNT, NUMBER, TOKEN, URL

from services.server import free_port
from soak.channel_world import World
from soak.family import Core, start_core
from soak.history import Violation
from waifu_llm.client import connect

SETTINGS = """
store = "sqlite"

[channels.sms]
provider = "echo"
model = "echo"
parameters = {{ extra = {{ first_delay_ms = 30 }} }}
account_sid = "{account}"
number = "{number}"
public_url = "{public_url}"
api_url = "{twilio}"
twiml_seconds = 0.5
limits = {limits}

[channels.mail]
kind = "email"
provider = "echo"
model = "echo"
parameters = {{ extra = {{ first_delay_ms = 30 }} }}
address = "mail@waifu.example"
listen_host = "127.0.0.1"
listen_port = {smtp}
smtp_host = "127.0.0.1"
smtp_port = {post}
smtp_security = "none"
limits = {limits}

[channels.mailbox]
kind = "email"
provider = "echo"
model = "echo"
address = "mailbox@waifu.example"
imap_host = "127.0.0.1"
imap_port = {imap}
imap_security = "none"
imap_user = "mailbox"
imap_poll_seconds = 1
smtp_host = "127.0.0.1"
smtp_port = {post}
smtp_security = "none"
limits = {limits}
"""
_MANY = "1_000_000"
LIMITS = (
    f"{{ per_ten_minutes = {_MANY}, per_day = {_MANY}, cost_per_day = {_MANY}, "
    f"cost_per_day_per_person = {_MANY}, waiting = {_MANY} }}"
)
SECRETS = {
    "WAIFU_LLM_CHANNELS_SMS_AUTH_TOKEN": TOKEN,
    "WAIFU_LLM_CHANNELS_MAILBOX_IMAP_PASSWORD": "a password",
}
QUIET_SECONDS = 90.0
_FAULTS = re.compile(r"database is locked|fault of the module|Traceback|never retrieved", re.I)


class ChannelLife:
    """One store, and the modules that come one after the other."""

    def __init__(self, home: Path, world: World) -> None:
        self.home = home / "module"
        self.http, self.smtp = free_port(), free_port()
        self._url = ""
        self._core: Core
        self.home.mkdir()
        told = SETTINGS.format(
            account=ACCOUNT,
            number=NUMBER,
            public_url=URL,
            twilio=world.twilio.url,
            smtp=self.smtp,
            post=world.post.port,
            imap=world.imap.port,
            limits=LIMITS,
        )
        (self.home / "waifu-llm.toml").write_text(told, "utf-8")

    async def start(self) -> None:
        """
        Raises:
            Violation: When it does not listen.
        """
        flags = ["--http-port", str(self.http), "--log-level", "warning"]
        self._core, self._url = await start_core(self.home, *flags, **SECRETS)
        if not self._url:
            raise Violation(f"the module does not start: {self._log()[-2000:]}")

    async def kill(self) -> None:
        if self._core.returncode is None:
            self._core.send_signal(signal.SIGKILL)
        await self._core.wait()

    async def kill_and_start(self) -> None:
        await self.kill()
        await self.start()

    async def until_quiet(self) -> None:
        """Nothing is to be answered, and nothing to be brought.

        Raises:
            Violation: When that takes too long.
        """
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while self._waiting():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise Violation(f"{self._waiting()} still wait: {self._log()[-2000:]}") from None

    async def close(self) -> None:
        """
        Raises:
            Violation: When it ends otherwise, its log tells of a fault, or its store is hurt.
        """
        async with connect(self._url) as client:
            await client.close_module()
        if code := await self._core.wait():
            raise Violation(f"it ended with status {code}: {self._log()[-2000:]}")
        if faults := [line for line in self._log().splitlines() if _FAULTS.search(line)]:
            raise Violation(f"the log tells of {len(faults)} faults: {faults[:5]}")
        whole, strays = self._rows("PRAGMA integrity_check"), self._rows("PRAGMA foreign_key_check")
        if whole != [("ok",)] or strays:
            raise Violation(f"the store is hurt: {whole} {strays}")

    def maybe(self) -> Counter[tuple[str, str]]:
        """To whom there are answers of which nobody knows whether they arrived."""
        sent = "SELECT channel, address FROM channel_parcels WHERE state = 'maybe'"
        said = (
            "SELECT people.channel, people.address FROM channel_received AS received "
            "JOIN channel_people AS people ON people.number = received.person "
            "WHERE received.state = 'maybe'"
        )
        return Counter([*self._rows(sent), *self._rows(said)])

    def states(self) -> dict[str, int]:
        told = "SELECT 'message ' || state, count(*) FROM channel_received GROUP BY state"
        more = "SELECT 'answer ' || state, count(*) FROM channel_parcels GROUP BY state"
        return dict([*self._rows(told), *self._rows(more)])

    def _waiting(self) -> int:
        parcels = "SELECT count(*) FROM channel_parcels WHERE state IN ('waiting', 'sending')"
        received = "SELECT count(*) FROM channel_received WHERE state = 'accepted'"
        return sum(self._rows(each)[0][0] for each in (parcels, received))

    def _rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.home / 'store.db'}?mode=ro", uri=True)) as store:
            return store.execute(statement).fetchall()

    def _log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text("utf-8", "replace")
