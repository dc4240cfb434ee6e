"""The channel `sms`: Twilio's webhook and REST API, and the JSON of an application.

A webhook is answered within Twilio's patience: with the answer, or with nothing, and then the
answer follows over the REST API. Only one of the two ever has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from waifu_llm.channels.calls import JSON, Answered, answered, json_reply, read_json, refusal
from waifu_llm.channels.channel import (
    Authority,
    Channel,
    Conversations,
    Delivered,
    Incoming,
    Parcel,
    Reply,
    Route,
    Said,
)
from waifu_llm.channels.sms import segments
from waifu_llm.channels.sms.settings import SmsSettings, check
from waifu_llm.channels.sms.signature import Pairs, is_signed, is_signed_body
from waifu_llm.channels.sms.twilio import OPTED_OUT, Twilio, code_of, twiml
from waifu_llm.channels.sms.words import PHONE, Word, word_of
from waifu_llm.errors import Forbidden, InvalidMessage, WaifuError

FORM = "application/x-www-form-urlencoded"
SIGNATURE = "x-twilio-signature"
_FAILED = ("failed", "undelivered")


class SmsCall(Struct):
    """What an application sends."""

    user_id: Annotated[str, Meta(min_length=1, max_length=256)]
    phone_number: str
    """As E.164 writes it."""
    message: Annotated[str, Meta(min_length=1, max_length=20_000)]


class SmsChannel(Channel):
    """One number of Twilio's."""

    Settings = SmsSettings
    SECRETS = {"auth_token": "The auth token of the Twilio account."}
    sends_again = False
    settings: SmsSettings

    def __init__(self, name: str, settings: Any, secrets: Mapping[str, str]) -> None:
        super().__init__(name, settings, secrets)
        self._conversations: Conversations
        self._token = secrets.get("auth_token", "")
        check(name, settings, self._token)
        self._twilio = Twilio(
            settings.api_url, settings.account_sid, self._token, settings.timeout_seconds
        )

    async def open(self, conversations: Conversations) -> None:
        self._conversations = conversations

    def routes(self) -> list[Route]:
        path = "/sms" if self.name == "sms" else f"/sms/{self.name}"
        takes = {JSON: SmsCall, FORM: dict[str, str]}
        gives = {JSON: Answered, "text/xml": str}
        return [Route(path, needs, self.handle, takes=takes, gives=gives)]

    def shape(self, text: str) -> tuple[str, int]:
        shaped = segments.cut(text, self.settings.max_segments)
        return shaped, segments.count(shaped)

    async def handle(self, incoming: Incoming) -> Reply:
        """Whatever comes to its route. That an application may come in has been seen to."""
        try:
            if needs(incoming.headers) == "token":
                return await self._called(incoming)
            return await self._said_by_twilio(incoming)
        except WaifuError as error:
            return refusal(error)

    # An application

    async def _called(self, incoming: Incoming) -> Reply:
        call = read_json(incoming, SmsCall)
        if not PHONE.fullmatch(call.phone_number):
            raise InvalidMessage(
                "`phone_number` should be written as E.164 does: `+`, the country's code, the "
                "number, and nothing else, as in +15551234567."
            )
        told = await answered(self._conversations, call.user_id, call.message, "SMS")
        return json_reply(200, told)

    # Twilio

    async def _said_by_twilio(self, incoming: Incoming) -> Reply:
        said = self._checked(incoming)
        if "Body" not in said and said.get("MessageStatus"):
            return self._told_of_status(said)
        person, id = said.get("From", ""), said.get("MessageSid") or said.get("SmsSid", "")
        if not id:
            raise InvalidMessage("`MessageSid` is missing.")
        if not PHONE.fullmatch(person):
            return _says()  # a short code or a name: a machine, whom nobody can answer
        if word := word_of(said.get("OptOutType") or said.get("Body", "")):
            return await self._obey(word, person, id, answers="OptOutType" not in said)
        return await self._answer(Said(person, _text_of(said), id))

    def _checked(self, incoming: Incoming) -> dict[str, str]:
        """What it says, when it is Twilio that says so.

        Raises:
            Forbidden: When it is not.
        """
        shown, settings = incoming.headers.get(SIGNATURE, ""), self.settings
        body, query, url = incoming.body, incoming.query, settings.public_url
        if not (self._token and url):
            raise Forbidden(
                f"The channel `{self.name}` takes no messages of Twilio's: it has no `public_url`."
            )
        if _is_json(incoming.headers):
            if is_signed_body(self._token, url, query, body, shown):
                return _pairs_of_json(body)
        else:
            pairs = _pairs_of(body)
            if is_signed(self._token, url, query, pairs, shown):
                return dict(pairs)
        raise Forbidden(
            "The signature is not Twilio's. `public_url` and `auth_token` of the channel have to "
            "be exactly what Twilio has."
        )

    async def _obey(self, word: Word, person: str, id: str, *, answers: bool) -> Reply:
        stopped = {"stop": True, "start": False}.get(word)
        may_say = await self._conversations.note(person, id, stopped=stopped)
        text: str = getattr(self.settings, f"{word}_text")
        return _says(text if may_say and answers and self.settings.answer_words else "")

    async def _answer(self, said: Said) -> Reply:
        seconds = 0.0 if self.settings.answer_by == "rest" else self.settings.twiml_seconds
        taken = await self._conversations.take(said, seconds)
        return _says(taken.text)

    def _told_of_status(self, said: Mapping[str, str]) -> Reply:
        if said["MessageStatus"] in _FAILED:
            code = said.get("ErrorCode", "")
            self._conversations.trouble(f"An SMS did not arrive: Twilio's error {code}.")
        return Reply(204, "text/plain", b"")

    async def deliver(self, parcel: Parcel) -> Delivered:
        settings = self.settings
        if settings.answer_by == "twiml":
            return Delivered("refused", "it took too long, and `answer_by` is `twiml`.")
        service = settings.messaging_service_sid
        sender = {"MessagingServiceSid": service} if service else {"From": settings.number}
        came = await self._twilio.send(sender, parcel.address, parcel.text)
        if code_of(came.why) == OPTED_OUT:
            await self._conversations.note(parcel.address, parcel.id, stopped=True)
        return came


def needs(headers: Mapping[str, str]) -> Authority:
    """JSON without a signature is an application's; all else has to be Twilio's."""
    return "token" if _is_json(headers) and SIGNATURE not in headers else "itself"


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


def _says(text: str = "") -> Reply:
    return Reply(200, "text/xml; charset=utf-8", twiml(text))


def _pairs_of(body: bytes) -> Pairs:
    """
    Raises:
        InvalidMessage: When it is no form.
    """
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500)
    except ValueError:
        raise InvalidMessage("This is no form, or one with too many fields.") from None


def _pairs_of_json(body: bytes) -> dict[str, str]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidMessage("This is not JSON.") from None
    return {name: str(value) for name, value in said.items()} if isinstance(said, dict) else {}


def _text_of(said: Mapping[str, str]) -> str:
    """Pictures are said, and not looked at."""
    count, text = said.get("NumMedia", "0"), said.get("Body", "")
    if not count.isdigit() or count == "0":
        return text or "(an empty message)"
    kinds = [
        said.get(f"MediaContentType{number}", "a file") for number in range(min(int(count), 9))
    ]
    return f"{text}\n[With this came {', '.join(kinds)}, which you cannot see.]".strip()
