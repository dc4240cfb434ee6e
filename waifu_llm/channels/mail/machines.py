"""Whether a mail is from a machine, a list or ourselves: such is never answered (RFC 3834).

Of two mistakes the better one is made: rather a person goes without an answer than two machines
talk to each other.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from email.message import Message

from waifu_llm.channels.mail import machine_words
from waifu_llm.channels.mail.headers import header, unfolded
from waifu_llm.channels.mail.ids import parcel_in, parcel_within
from waifu_llm.channels.mail.reading import address_in, is_one_of

LOOP = "X-Waifu-LLM-Loop"
"""What each of our answers carries, whoever of us wrote it."""
MOST_HOPS = 40
_NOBODY = re.compile(
    r"(mailer-?daemon|postmaster|abuse|root|daemon|cron|nobody|www-data|apache|nginx|system|"
    r"(no|do-?not|dont|not)[._-]?reply.*|.*[._+-](no|do-?not)-?reply|.*noreply.*|bounces?([._+-].*)?|"
    r".*[._+-](bounces?|request|owner|errors|confirm|unsubscribe)([._+-].*)?|owner-.*|listserv|"
    r"listmaster|majordomo|mailman([._-].*)?|sympa|ezmlm.*|robot|bot|mailbot|"
    r"auto[._-]?(reply|respond|response|mailer|mated|mail|confirm).*|e?fax|voicemail|scanner|"
    r"(.*[._-])?dmarc[._-]?(reports?|support|noreply|rua)?|tls-?rpt|"
    r"notifications?([._+-].*)?|notify|alerts?|newsletters?([._+-].*)?|news-?letter|mailings?|"
    r"marketing|promo(tions)?|receipts?|calendar-(notification|server)|invitations?)"
)
_LISTS = re.compile(r"list-.+|x-mailing-list|mailing-list|x-beenthere|x-mailman-.+|x-list.*")
_PROGRAMS = re.compile(
    r"x-(github|gitlab|jira|bugzilla|redmine|trac|mantis|discourse|zendesk|servicenow|freshdesk|"
    r"otrs|sfdc|marketo|campaign|cron|linkedin|facebook)([_-].+)?|x-campaignid|x-marketoid|"
    r"(x-)?auto-?(repl(y|ied)|respond|responder|generated|submitted-?by|response)(-from|-version)?|"
    r"x-(email|mail)-?auto-?(reply|response)|x-auto-submitted"
)
_AUTOMATIC = {
    *("x-loop", "feedback-id", "x-mailgun-sid", "x-failed-recipients", "x-vacation"),
    *("x-ms-exchange-inbox-rules-loop", "x-ms-exchange-generated-message-source"),
    *("x-csa-complaints", "x-mc-user", "x-mandrill-user", "x-sg-eid"),
    *("x-ses-outgoing-campaign", "x-rt-loop-prevention", "x-fc-machinegenerated"),
    LOOP.lower(),
}
_SAYS = {
    "precedence": {"bulk", "junk", "list", "auto_reply", "auto-reply", "autoreply"},
    "x-precedence": {"bulk", "junk", "list", "auto_reply", "auto-reply", "autoreply"},
    "delivered-to": {"autoresponder"},
    "x-mailer": {"vacation", "zendesk", "autoresponder", "autorespond"},
    "x-post-messageclass": {"autoresponder"},
}
"""Headers that people's mails have too, and what they say of a machine."""
_SUPPRESSED = {"all", "oof", "autoreply"}
"""What of `X-Auto-Response-Suppress` is about us: the rest is about reports and receipts."""
_REPORTS = ("multipart/report", "message/delivery-status", "message/disposition-notification")
_WITHIN = (*_REPORTS[1:], "text/calendar", "message/feedback-report", "text/rfc822-headers")
_RECIPIENTS = ("To", "Delivered-To", "X-Original-To", "X-Delivered-To", "Envelope-To")


def why_not(message: Message, sender: str | None, own: Collection[str]) -> str:
    """Why this is not answered; nothing where it is. `sender` is the envelope's, where that is
    known, and empty for who wants no answer."""
    return (
        _of_sender(message, sender, own)
        or _of_headers(message)
        or _of_content(message)
        or _of_subject(message)
    )


def why_not_said(text: str) -> str:
    """The same of what is new in its text."""
    return "it says what machines say" if machine_words.of_text(text) else ""


def is_returned(message: Message, recipients: Collection[str], returns: str) -> bool:
    """Whether it came to the envelope's sender of our mails, `returns`. A person answers to whom a
    mail is from; to the envelope's sender only programs write, whatever they look like."""
    named = [each for name in _RECIPIENTS for each in message.get_all(name, [])]
    found = {address_in("".join(str(each).splitlines())) for each in named}
    return returns in found or returns in {each.lower() for each in recipients}


def _of_sender(message: Message, sender: str | None, own: Collection[str]) -> str:
    path = unfolded(message, "Return-Path").strip()
    if path.replace(" ", "") == "<>" or (sender is not None and not sender.strip("<> ")):
        return "it has no sender"
    author = unfolded(message, "From")
    senders = [author, sender or path or author, unfolded(message, "Sender")]
    addresses = [address_in(each) for each in senders]
    if not all(addresses[:2]):
        return "its sender is no one address"
    for address in addresses:
        if is_one_of(address, own):
            return "it is from us"
        if address and _NOBODY.fullmatch(address.partition("@")[0]):
            return "its sender is nobody"
    return ""


def _of_headers(message: Message) -> str:
    names = {str(name).lower() for name in message.keys()}  # noqa: SIM118  it is no dict
    for name in sorted(names):
        if name in _AUTOMATIC or _PROGRAMS.fullmatch(name) or _LISTS.fullmatch(name):
            return f"it has the header `{name[:40]}`"
    for name, words in _SAYS.items():
        if words & set(_words(header(message, name))):
            return f"its header `{name}` is a machine's"
    submitted = header(message, "Auto-Submitted").strip()
    if submitted and _words(submitted)[:1] != ["no"]:
        return "it was submitted automatically"
    if _SUPPRESSED & set(_words(header(message, "X-Auto-Response-Suppress"))):
        return "its sender wants no automatic answers"
    if parcel_in(unfolded(message, "Message-ID")):
        return "it is an answer of one of us"
    if len(message.get_all("Received", [])) > MOST_HOPS:
        return "it goes round in circles"
    return ""


def _words(said: str) -> list[str]:
    """In small letters, without what stands between them."""
    return [each.lower() for each in re.findall(r"[A-Za-z_-]+", said)]


def _of_content(message: Message) -> str:
    if message.get_content_type() in _REPORTS:
        return "it is a report"
    for _, part in zip(range(100), message.walk(), strict=False):
        if part.get_content_type() in _WITHIN:
            return f"a program made it: {part.get_content_type()}"
    return "one of our mails is in it" if parcel_within(message) else ""


def _of_subject(message: Message) -> str:
    is_one = machine_words.of_subject(header(message, "Subject"))
    return "its subject is a machine's" if is_one else ""
