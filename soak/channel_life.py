"""A real module with three channels and a store: killed, or ended in peace, and started again at
the same ports."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

from fake_twilio import ACCOUNT, NUMBER, TOKEN, URL

from services.server import free_port
from soak.channel_store import ChannelStore
from soak.channel_world import World
from soak.family import Core, start_core
from soak.history import Violation
from waifu_llm.app import CLOSE_SECONDS
from waifu_llm.client import connect

SETTINGS = """
[channels.sms]
provider = "echo"
model = "echo"
parameters = {{ extra = {{ first_delay_ms = 30, delay_ms = 10 }} }}
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
parameters = {{ extra = {{ first_delay_ms = 30, delay_ms = 10 }} }}
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
END_SECONDS = CLOSE_SECONDS + 2 + 1
"""It promises the first two; the last is the machine's, that has other things to do."""
_FAULTS = re.compile(r"database is locked|fault of the module|Traceback|never retrieved", re.I)


class ChannelLife:
    """One store, and the modules that come one after the other."""

    def __init__(self, home: Path, store: str, world: World, seen_as: str = "") -> None:
        """`seen_as`: the same store, by a way that is not the module's."""
        self.home = home / "module"
        self.store = ChannelStore(seen_as or store, self.home)
        self.http, self.smtp = free_port(), free_port()
        self._flags = ["--http-port", str(self.http), "--store", store, "--log-level", "warning"]
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
        self._core, self._url = await start_core(self.home, *self._flags, **SECRETS)
        if not self._url:
            raise Violation(f"the module does not start: {self._log()[-2000:]}")

    async def kill(self) -> None:
        if self._core.returncode is None:
            self._core.send_signal(signal.SIGKILL)
        await self._core.wait()

    async def kill_and_start(self) -> None:
        await self.kill()
        await self.start()

    async def end(self) -> None:
        """As a system does that shuts down.

        Raises:
            Violation: When it takes longer than it may, or ends otherwise.
        """
        self._core.terminate()
        try:
            async with asyncio.timeout(END_SECONDS):
                code = await self._core.wait()
        except TimeoutError:
            raise Violation(f"it does not end: {self._log()[-2000:]}") from None
        self._see_that_it_ended_well(code)

    async def until_quiet(self) -> None:
        """Nothing is to be answered, and nothing to be brought.

        Raises:
            Violation: When that takes too long.
        """
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while await self.store.waiting():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            waiting = await self.store.waiting()
            raise Violation(f"{waiting} still wait: {self._log()[-2000:]}") from None

    async def close(self) -> None:
        """
        Raises:
            Violation: When it ends otherwise, or its log tells of a fault.
        """
        async with connect(self._url) as client:
            await client.close_module()
        self._see_that_it_ended_well(await self._core.wait())
        if faults := [line for line in self._log().splitlines() if _FAULTS.search(line)]:
            raise Violation(f"the log tells of {len(faults)} faults: {faults[:5]}")

    def _see_that_it_ended_well(self, code: int) -> None:
        if code:
            raise Violation(f"it ended with status {code}: {self._log()[-2000:]}")

    def _log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text("utf-8", "replace")
