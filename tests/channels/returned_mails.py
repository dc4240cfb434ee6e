"""What servers, programs and offices send back, as they word it, by a sender that looks like a
person's and without a header that says so: none of them may ever be answered."""

from __future__ import annotations

from automatic_mails import PERSON, mail

ID = "<waifu.abcdefghijklmnopqrst@waifu.example>"
COPY = f"""
Received: from waifu.example by mx.example.org; Mon, 1 Jan 2024 00:00:00 +0000
From: Aria <aria@waifu.example>
To: anna@example.org
Subject: Re: Hello
Message-ID: {ID}

You said: Hello"""
HTML = "Content-Type: text/html; charset=utf-8"


def text(body: str, *headers: str, subject: str = "Hello", sender: str = PERSON) -> str:
    return mail(
        "Content-Type: text/plain; charset=utf-8",
        *headers,
        body=body,
        subject=subject,
        sender=sender,
    )


RETURNED: dict[str, str] = {
    "qmail": text(
        "Hi. This is the qmail-send program at mx.example.org.\nI'm afraid I wasn't able to deliver"
        " your message to the following addresses.\n\n<anna@example.org>:\n550 5.1.1 No such user\n"
        f"\n--- Below this line is a copy of the message.\n{COPY}"
    ),
    "Exim": text(
        "A message that you sent could not be delivered to one or more of its\nrecipients. This is "
        "a permanent error. The following address(es) failed:\n\n  anna@example.org\n    550 No "
        f"such user here\n\n---- This is a copy of the message, with all the headers. ----\n{COPY}"
    ),
    "Postfix": text(
        "This is the mail system at host mx.example.org.\n\nI'm sorry to have to inform you that "
        "your message could not\nbe delivered to one or more recipients. It's attached below.\n\n"
        "<anna@example.org>: host mx.example.org said: 550 5.1.1 User unknown"
    ),
    "sendmail": text(
        "   ----- The following addresses had permanent fatal errors -----\n<anna@example.org>\n\n"
        f"   ----- Transcript of session follows -----\n550 5.1.1 User unknown\n{COPY}"
    ),
    "Exchange": text(
        "Delivery has failed to these recipients or groups:\n\nanna@example.org\nThe email address "
        "you entered couldn't be found.\n\nDiagnostic information for administrators:\n"
        "Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound'",
    ),
    "Exchange in German": text(
        "Fehler bei der Nachrichtenzustellung an folgende Empfänger:\nIhre Nachricht konnte nicht "
        "zugestellt werden."
    ),
    "Office 365": mail(
        HTML,
        body="<html><body><p>Your message to <a>anna@example.org</a> couldn't be delivered.</p>"
        "<p>anna wasn't found at example.org.</p></body></html>",
    ),
    "Gmail": text(
        "** Address not found **\n\nYour message wasn't delivered to anna@example.org because the "
        "address couldn't be found, or is unable to receive mail."
    ),
    "Yahoo": text(
        "Sorry, we were unable to deliver your message to the following address.\n\n"
        "<anna@example.org>:\n554: delivery error: This user doesn't have an account here"
    ),
    "SES": text(
        "An error occurred while trying to deliver the mail to the following recipients:\n"
        f"anna@example.org\n{COPY}"
    ),
    "a full mailbox": text("It was not delivered.\nThe user has exceeded its mailbox quota."),
    "a DSN in Japanese": text(
        "あなたが送信したメールは、次の宛先に配信できませんでした。\n\nanna@example.org\n"
        "宛先のメールアドレスが存在しません。"
    ),
    "a DSN in Japanese, by its subject": text("下記をご確認ください。", subject="配信不能: Hello"),
    "a DSN in Chinese": text("很抱歉，您的邮件无法投递到以下收件人：anna@example.org"),
    "a DSN in French": text("Votre message n'a pas pu être remis à anna@example.org."),
    "a DSN in Spanish": text("Su mensaje no se pudo entregar a los siguientes destinatarios."),
    "a DSN in Italian": text("Il messaggio.", subject="Mancato recapito: Hello"),
    "a DSN in Russian": text("Ваше сообщение не было доставлено следующим получателям."),
    "nothing but our id": text(f"The message {ID} is gone."),
    "nothing but our id, in HTML": mail(HTML, body=f"<pre>{ID.replace('<', '&lt;')}</pre>"),
    "nothing but our mail": mail(
        "Content-Type: multipart/mixed; boundary=b",
        body="--b\nContent-Type: text/plain\n\nSee below.\n--b\n"
        f"Content-Type: message/rfc822\n{COPY}\n--b--",
    ),
    "nothing but our headers": mail(
        "Content-Type: multipart/mixed; boundary=b",
        body="--b\nContent-Type: text/plain\n\nSee below.\n--b\n"
        "Content-Type: text/rfc822-headers\n\nSubject: Re: Hello\n--b--",
    ),
    "our answer, sent back": mail().replace("<1@example.org>", ID),
    "our answer, sent on": mail().replace(
        "<1@example.org>", ID.replace("waifu.example", "x.example")
    ),
    "a delay": text("Hello", subject="Warning: message 1rKxyz-0001 delayed 24 hours"),
}
"""Answers of ours that came back."""

PROGRAMS: dict[str, str] = {
    # away
    "Exchange's out of office": text("Anna", subject="Automatic reply: [External] Re: Hello"),
    "Exchange's agent": text("Hi", "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent"),
    "Gmail's vacation": text("I'll be back.", "Precedence: bulk", "X-Autoreply: yes"),
    "cPanel": text("Away.", "Precedence: auto_reply", "X-Precedence: auto_reply"),
    "BoxTrapper": text("Hello", "X-Autorespond: Re: Hello"),
    "qmail's autoresponder": text("Away.", "Delivered-To: Autoresponder"),
    "vacation(1)": text("Away.", "X-Mailer: vacation 1.2"),
    "FirstClass": text("Away.", "X-FC-MachineGenerated: true"),
    "Mailtraq": text("Away.", "X-POST-MessageClass: 9; Autoresponder"),
    "an autoresponder's version": text("Away.", "X-AutoReply-From: anna@example.org"),
    "an automatic reply in Chinese": text("您好，这是一封自动回复邮件。"),
    # tickets
    "Zendesk": text(
        "##- Please type your reply above this line -##\n\nYour request (12345) has been received.",
        subject="[Request received] Hello",
        sender="Shop <support@shop.example>",
    ),
    "Zendesk, by its mailer": text("We will write.", "X-Mailer: Zendesk Mailer"),
    "OTRS": text("Thanks.", "X-OTRS-Loop: support@shop.example"),
    "RT": text("Greetings.", "X-RT-Loop-Prevention: shop.example"),
    "ServiceNow": text("Opened.", "X-ServiceNow-Generated: true"),
    "a ticket, by its text": text("Your ticket #4711 has been created."),
    "do not reply": text("Thank you. Please do not reply to this email."),
    "nicht antworten": text("Dies ist eine automatisch generierte Nachricht."),
    "请勿回复": text("此邮件由系统自动发出，请勿回复。"),
    "自動送信": text("このメールは自動送信されています。"),
    "발신 전용": text("본 메일은 발신전용입니다."),
    # lists and forges
    "Mailman, held": text(
        "Your mail to 'Talk' was held.", subject="Your message to Talk awaits moderator approval"
    ),
    "Mailman, confirm": text("Confirm", sender="talk-confirm+0123abc@lists.example"),
    "LISTSERV": text("Unknown command.", sender="L-Soft list server <LISTSERV@LISTS.EXAMPLE>"),
    "LISTSERV's confirmation": text("Confirm.", subject="Command confirmation request (1A2B)"),
    "Majordomo": text("**** Command failed.", sender="Majordomo@lists.example"),
    "Sympa": text("Votre commande.", sender="SYMPA <sympa@lists.example>"),
    "GitHub": text("@anna commented.", "X-GitHub-Reason: mention", sender="anna@forge.example"),
    "Jira": text("Anna commented.", "X-JIRA-FingerPrint: 0123"),
    "Discourse": text("Anna replied.", "X-Discourse-Post-Id: 5"),
    # what else programs send
    "a challenge": text(
        "I am protecting myself from spam. Click below to verify that you are a human:\n"
        "https://challenge.example/1"
    ),
    "a challenge, by its subject": text("Hello", subject="Please confirm your message"),
    "a challenge that holds a mail": text("Your message has been held. Reply to release it."),
    "a DMARC report": text(
        "Attached.",
        subject="Report Domain: waifu.example Submitter: mx.example Report-ID: <1>",
        sender="dmarc@mx.example",
    ),
    "a DMARC report's sender": text("Attached.", sender="dmarcreport@mx.example"),
    "a TLS report": text("Attached.", sender="tls-rpt@mx.example"),
    "a fax": text("You have a fax.", subject="Fax from +15551234567", sender="message@fax.example"),
    "a voice mail": text("Listen.", subject="New voicemail from +15551234567"),
    "a scanner": text("Scanned.", sender="scanner@office.example"),
    "a receipt": text("It was shown on the screen.", subject="Return Receipt (displayed) - Hello"),
    "not read": text("It was deleted.", subject="Not read: Hello"),
    "a new time": text("Lunch", subject="New Time Proposed: Lunch"),
    "SendGrid": text("News", "X-SG-EID: 0123"),
    "automatic, and asks": text("This is an automated reply. Do you need help?"),
    "a mail of ours, in German": text("Ihre E-Mail-Nachricht konnte nicht zugestellt werden."),
    "German, Zustellung": text("...", subject="Zustellung fehlgeschlagen: Hallo"),
    "German, Zustellungsbenachrichtigung": text("...", subject="Zustellungsbenachrichtigung"),
    "Swedish, Frånvaro": text("...", subject="Frånvaro: Hej"),
    "Finnish, Poissaolo": text("...", subject="Poissaoloviesti"),
}
"""Other programs."""

PEOPLE: dict[str, str] = {
    "an answer with our id": text("Thanks!", f"In-Reply-To: {ID}", f"References: {ID}"),
    "an answer that quotes the headers": text(f"Thanks!\n\n> Message-ID: {ID}\n> You said: Hello"),
    "about an automatic mail": text(
        "What shall I do?\n\nOn Mon, 1 Jan 2024, Shop <x@shop.example> wrote:\n> This is an "
        "automatically generated message.\n> Please do not reply to this email."
    ),
    "about being away": text("Will you be out of the office on Friday?"),
    "about a delivery": text("My parcel was not here on Monday. Where can it be?"),
    "about tickets": text("I have two tickets for the concert on Friday."),
    "on vacation": text("I'm on vacation in Italy until Monday, and it is lovely here!"),
    "out of the office": text("I am out of the office today, because I am ill."),
    "on vacation, in Japanese": text("いま休暇中で、京都にいます。"),
    "about a parcel": text("My parcel could not be delivered and was returned to the sender."),
    "about an address": text("The site says: address not found. Do you know why?"),
    "about us": text("I think this is an automated response, isn't it?"),
    "about us, in German": text("Ist das eine automatisch generierte Antwort?"),
    "asks whether it is automatic": text("Wow. This is an automated reply, right?"),
    "the same in German": text("Wird diese Mail automatisch erstellt, oder bist du echt?"),
    "the same in French": text("Est-ce que ceci est une réponse automatique ?"),
    "the same in Spanish": text("¿Esta es una respuesta automática?"),
    "the same in Italian": text("Questa è una risposta automatica?"),
    "the same in Portuguese": text("Esta é uma resposta automática?"),
    "the same in Russian": text("Это сообщение написано автоматически?"),
    "the same in Japanese": text("このメールは自動返信ですか。"),
    "the same in Chinese": text("这是由系统自动回复的吗？"),
    "writes again": text("My last message couldn't be delivered, so I try again."),
    "writes again, and says which": text("The message I sent you was not delivered. Hello!"),
    "writes again, in German": text("Meine letzte Nachricht konnte nicht zugestellt werden."),
    "writes again, in Spanish": text("Hola, mi mensaje no se pudo entregar ayer."),
    "over a server that tells where to complain": text("Hello", "X-Report-Abuse-To: x@y.example"),
    "about a parcel, in German": text("Wo ist es?", subject="Zustellung meines Pakets"),
    "about a day off, in Swedish": text("Hej!", subject="Frånvaro på fredag"),
    "asks whether we are people": text("Prove that you are human! Is this sent by a human?"),
    "about faxes": text("Do people still send those?", subject="Fax machines"),
    "without reports, please": text("Hello", "X-Auto-Response-Suppress: DR, RN, NRN"),
    "an old mailer": text("Hello", "X-Mailer: Apple Mail (2.3731)"),
    "delivered by a server": text("Hello", "Delivered-To: aria@waifu.example"),
}
"""Mails that look a little like it, and are people's."""
