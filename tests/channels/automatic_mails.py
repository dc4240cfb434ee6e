"""Mails that machines and lists send, in several languages: none of them may ever be answered."""

from __future__ import annotations

PERSON = "Anna <anna@example.org>"


def mail(*headers: str, body: str = "Hello.", sender: str = PERSON, subject: str = "Hello") -> str:
    """One that a person may have written, but for these headers."""
    lines = [f"From: {sender}", "To: aria@waifu.example", f"Subject: {subject}"]
    return "\n".join([*lines, "Message-ID: <1@example.org>", *headers, "", body])


def said(subject: str) -> str:
    """Nothing but its subject gives it away."""
    return mail(subject=subject, body="I am away until Monday.")


REPORT = """--b
Content-Type: text/plain

Your message could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; anna@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user
--b
Content-Type: text/rfc822-headers

Message-ID: {id}
Subject: Re: Hello
--b--"""
RECEIPT = """--b
Content-Type: text/plain

Your message was displayed.
--b
Content-Type: message/disposition-notification

Disposition: manual-action/MDN-sent-manually; displayed
--b--"""
INVITATION = """--b
Content-Type: text/plain

Anna invites you.
--b
Content-Type: text/calendar; method=REQUEST

BEGIN:VCALENDAR
METHOD:REQUEST
END:VCALENDAR
--b--"""
_MIXED = "Content-Type: multipart/mixed; boundary=b"

AUTOMATIC: dict[str, str] = {
    # what says so itself
    "auto-replied": mail("Auto-Submitted: auto-replied"),
    "auto-replied, in capitals": mail("AUTO-SUBMITTED: Auto-Replied (vacation)"),
    "auto-generated": mail("Auto-Submitted: auto-generated; type=alert"),
    "auto-notified": mail('Auto-Submitted: auto-notified; owner-email="x@example.org"'),
    "bulk": mail("Precedence: bulk"),
    "junk": mail("Precedence: junk"),
    "a list, by precedence": mail("Precedence: list"),
    "auto_reply, by precedence": mail("Precedence: auto_reply"),
    "suppressed": mail("X-Auto-Response-Suppress: All"),
    "out of office suppressed": mail("X-Auto-Response-Suppress: OOF, AutoReply"),
    "X-Autoreply": mail("X-Autoreply: yes"),
    "X-Autorespond": mail("X-Autorespond: Re: Hello"),
    "X-Mail-Autoreply": mail("X-Mail-Autoreply: dtag-vacation"),
    "Exchange's rules": mail("X-MS-Exchange-Inbox-Rules-Loop: anna@example.org"),
    "X-Loop": mail("X-Loop: anna@example.org"),
    "a form's": mail("X-Auto-Generated: yes"),
    "cron": mail("X-Cron-Env: <SHELL=/bin/sh>", sender="Cron <box@example.org>"),
    # another of us
    "another of us": mail("X-Waifu-LLM-Loop: bella@other.example"),
    "ourselves": mail(sender="Aria <Aria@Waifu.Example>"),
    "ourselves, by the sender": mail("Sender: aria@waifu.example"),
    # lists and newsletters
    "a mailing list": mail("List-Id: <talk.example.org>"),
    "a list's post": mail("List-Post: <mailto:talk@example.org>"),
    "an old list": mail("Mailing-List: contact talk-help@example.org"),
    "mailman": mail("X-BeenThere: talk@example.org", "X-Mailman-Version: 2.1"),
    "a newsletter": mail("List-Unsubscribe: <https://example.org/u/1>", subject="Neues im Mai"),
    "a newsletter in Japanese": mail(
        "List-Unsubscribe: <mailto:u@example.jp>", subject="今月の特集"
    ),
    "a newsletter in French": mail("Feedback-ID: 1:2:fr", subject="Nos offres du mois"),
    "a campaign": mail("X-CampaignID: 77", subject="Ofertas de la semana"),
    "an owner of a list": mail(sender="talk-owner@example.org"),
    "a list's bounces": mail(sender="talk-bounces@example.org"),
    # senders that are nobody
    "noreply": mail(sender="noreply@example.org", subject="Your order"),
    "no-reply": mail(sender="Shop <no-reply@example.org>"),
    "do-not-reply": mail(sender="do-not-reply@example.org"),
    "an account's noreply": mail(sender="accounts-noreply@example.org"),
    "notifications": mail(sender="notifications@forge.example", subject="[repo] Issue 7"),
    "alerts": mail(sender="alerts@monitor.example", subject="CPU at 99 %"),
    "mailer-daemon": mail(sender="MAILER-DAEMON@example.org", subject="Hello"),
    "the postmaster": mail(sender="Postmaster <postmaster@example.org>"),
    "root": mail(sender="root@box.example.org", subject="Output of a job"),
    "a robot": mail(sender="autoresponder@example.org"),
    "nobody at all": mail(sender=""),
    "two at once": mail(sender="anna@example.org, bert@example.org"),
    "a null path": mail("Return-Path: <>"),
    # reports, receipts, calendars
    "a report": mail(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        body=REPORT.format(id="<9@example.org>"),
        sender="mail@example.org",
        subject="Hello",
    ),
    "a read receipt": mail(
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
        body=RECEIPT,
    ),
    "a receipt within": mail(_MIXED, body=RECEIPT),
    "an invitation": mail("Content-Type: multipart/alternative; boundary=b", body=INVITATION),
    "a calendar alone": mail("Content-Type: text/calendar; method=REPLY", body="BEGIN:VCALENDAR"),
    "round in circles": mail(*["Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000"] * 50),
    # nothing but the subject
    "English, automatic reply": said("Automatic reply: Hello"),
    "English, auto-reply": said("Auto-Reply: Hello"),
    "English, out of office": said("Out of Office: back on Monday"),
    "English, out of office alone": said("Out of the office"),
    "English, vacation": said("Vacation response"),
    "German, Abwesenheit": said("Abwesenheitsnotiz: Hallo"),
    "German, automatische Antwort": said("Automatische Antwort: Hallo"),
    "French": said("Réponse automatique : Bonjour"),
    "French, encoded": said("=?iso-8859-1?Q?R=E9ponse_automatique_:_Bonjour?="),
    "Spanish": said("Respuesta automática: Hola"),
    "Italian": said("Risposta automatica: Ciao"),
    "Portuguese": said("Resposta automática: Olá"),
    "Dutch": said("Automatisch antwoord: Hallo"),
    "Swedish": said("Autosvar: Hej"),
    "Polish": said("Automatyczna odpowiedź: Witam"),
    "Russian": said("Автоматический ответ: Привет"),
    "Japanese": said("自動返信: こんにちは"),
    "Japanese, encoded": said("=?utf-8?B?6Ieq5YuV6L+U5L+hOiBIZWxsbw==?="),
    "Chinese": said("自动回复: 你好"),
    "Korean": said("자동 회신: 안녕하세요"),
    "undeliverable": said("Undeliverable: Hello"),
    "delivery status": said("Delivery Status Notification (Failure)"),
    "returned": said("Returned mail: see transcript for details"),
    "failure": said("failure notice"),
    "German, unzustellbar": said("Unzustellbar: Hallo"),
    "was read": said("Read: Hello"),
    "German, was read": said("Gelesen: Hallo"),
    "accepted": said("Accepted: Lunch on Friday"),
    "German, zugesagt": said("Zugesagt: Mittagessen"),
    "cancelled": said("Canceled: Lunch on Friday"),
}

ORDINARY: dict[str, str] = {
    "plain": mail(),
    "not automatic, as it says": mail("Auto-Submitted: no"),
    "an answer": mail("In-Reply-To: <0@waifu.example>", subject="Re: Hello"),
    "first class": mail("Precedence: first-class"),
    "suppresses nothing": mail("X-Auto-Response-Suppress: None"),
    "about being away": mail(subject="Are you out of office on Friday?"),
    "about an automatic reply": mail(subject="Re: Automatic reply: Hello"),
    "about what was read": mail(subject="Read this first"),
    "about acceptance": mail(subject="Accepted at university!"),
    "about delivery": mail(subject="Delivery of the piano"),
    "about a newsletter": mail(subject="Your newsletter is great"),
    "German": mail(subject="Abwesende Freunde", sender="Jörg <joerg@example.org>"),
    "Japanese": mail(subject="=?utf-8?B?44GT44KT44Gr44Gh44Gv?=", body="元気ですか"),
    "no subject": mail(subject=""),
    "no id": mail().replace("Message-ID: <1@example.org>\n", ""),
    "an attachment": mail(
        _MIXED,
        body="--b\n\nLook.\n--b\nContent-Type: image/png\nContent-Disposition: attachment; "
        "filename=cat.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--",
    ),
    "a name like a robot's": mail(sender="Robot Fan <roberta@example.org>"),
    "an info address": mail(sender="info@small-shop.example"),
    "a sender with a tag": mail(sender="anna+aria@example.org"),
    "a return path": mail("Return-Path: <anna@example.org>"),
    "a few hops": mail(*["Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000"] * 6),
    "signed by its domain": mail("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; b=y"),
    "mentions noreply": mail(body="Why do noreply@ addresses exist?"),
}
