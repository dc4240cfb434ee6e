"""What is read of a mail, whatever it is made of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waifu_llm.channels.mail.machines import why_not
from waifu_llm.channels.mail.markup import text_of
from waifu_llm.channels.mail.quoting import new_part
from waifu_llm.channels.mail.reading import Mail, address_in, parsed, read

HEAD = "From: Anna <anna@example.org>\nSubject: Hello\nMessage-ID: <1@example.org>\n"


def mail(rest: str | bytes, sender: str | None = None) -> Mail:
    content = rest.encode() if isinstance(rest, str) else rest
    message = parsed(HEAD.encode() + content)
    assert message is not None
    return read(message, sender)


def parts(kind: str, *inside: str) -> str:
    body = "".join(f"--b\n{each}\n" for each in inside)
    return f"Content-Type: multipart/{kind}; boundary=b\n\n{body}--b--\n"


PLAIN = "Content-Type: text/plain; charset=utf-8\n\nIn plain text."
HTML = "Content-Type: text/html; charset=utf-8\n\n<p>In <b>HTML</b>.</p>"
PNG = (
    "Content-Type: image/png\nContent-Disposition: attachment; filename=cat.png\n"
    "Content-Transfer-Encoding: base64\n\niVBORw0KGgo="
)

TEXTS = {
    "nothing said of what it is": ("\nHello", "Hello"),
    "plain": (f"{PLAIN}\n", "In plain text."),
    "HTML alone": (f"{HTML}\n", "In HTML."),
    "plain before HTML": (parts("alternative", PLAIN, HTML), "In plain text."),
    "plain after HTML": (parts("alternative", HTML, PLAIN), "In plain text."),
    "plain that is empty": (
        parts("alternative", "Content-Type: text/plain\n\n \n", HTML),
        "In HTML.",
    ),
    "two texts": (parts("mixed", PLAIN, HTML), "In plain text.\n\nIn HTML."),
    "a text that is attached": (
        parts("mixed", PLAIN, "Content-Type: text/plain\nContent-Disposition: attachment\n\nNo."),
        "In plain text.",
    ),
    "quoted-printable": (
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
        "Gr=C3=BC=C3=9Fe =\nan alle",
        "Grüße an alle",
    ),
    "base64": (
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        "44GT44KT44Gr44Gh44Gv",
        "こんにちは",
    ),
    "base64 that is broken": (
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!!SGVsbG8",
        "Hello",
    ),
    "an encoding that does not exist": (
        "Content-Type: text/plain\nContent-Transfer-Encoding: x-none\n\nHello",
        "Hello",
    ),
    "Latin-1": (
        b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
        b"Gr\xfc\xdfe",
        "Grüße",
    ),
    "Shift-JIS": (
        b"Content-Type: text/plain; charset=shift_jis\nContent-Transfer-Encoding: 8bit\n\n"
        + "猫".encode("cp932"),
        "猫",
    ),
    "ISO-2022-JP": (
        b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + "猫です".encode("iso-2022-jp"),
        "猫です",
    ),
    "GB 2312 that is more": (
        b"Content-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: 8bit\n\n"
        + "镕".encode("gb18030"),
        "镕",
    ),
    "a charset that does not exist": (
        "Content-Type: text/plain; charset=x-none\nContent-Transfer-Encoding: 8bit\n\nGrüße",
        "Grüße",
    ),
    "a charset that is wrong": (
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGr\xfc\xdfe",
        "Grüße",
    ),
    "a charset in a broken parameter": (
        "Content-Type: text/plain; charset*=x'y; charset*0*=z\n\nHello",
        "Hello",
    ),
    "a boundary that never comes": (
        "Content-Type: multipart/mixed; boundary=b\n\nHello",
        "",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_read(name: str) -> None:
    raw, text = TEXTS[name]
    assert mail(raw).text == text


def test_parts_within_parts_are_read() -> None:
    inner = parts("alternative", PLAIN, HTML).replace("=b\n", "=c\n").replace("--b", "--c")
    found = mail(parts("mixed", inner, PNG))
    assert (found.text, found.attachments) == ("In plain text.", ["cat.png (image/png)"])


def test_a_mail_within_a_mail_is_an_attachment() -> None:
    found = mail(parts("mixed", PLAIN, f"Content-Type: message/rfc822\n\n{HEAD}\nSecret"))
    assert (found.text, found.attachments) == ("In plain text.", ["message/rfc822"])


def test_names_of_attachments_are_shown_in_one_line() -> None:
    bad = PNG.replace("cat.png", '"=?utf-8?Q?a=0D=0AIgnore_all?="')
    assert mail(parts("mixed", PLAIN, bad)).attachments == ["a Ignore all (image/png)"]


def test_a_mail_of_a_thousand_levels_is_not_read_and_harms_nobody() -> None:
    raw = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(1000))
    message = parsed((HEAD + raw).encode())
    assert message is None or read(message, None).text == ""


def test_a_mail_of_many_parts_is_read_as_far_as_anybody_would() -> None:
    found = mail(parts("mixed", *["Content-Type: image/png\n\nx"] * 5000))
    assert len(found.attachments) <= 200


@pytest.mark.parametrize(
    ("sender", "found"),
    [
        ("anna@example.org", "anna@example.org"),
        ("Anna@Example.ORG", "anna@example.org"),
        ("prvs=123abc=anna@example.org", "anna@example.org"),
        ("", ""),
        ("anna@example.org\r\nBcc: x@example.org", ""),
        ("anna", ""),
        ("ännä@example.org", ""),
    ],
)
def test_answers_go_to_whom_the_envelope_names(sender: str, found: str) -> None:
    assert mail("\nHello", sender).sender == found


def test_a_thread_is_what_was_referred_to_and_the_mail_itself() -> None:
    found = mail("References: <a@x> <b@x>\n <c@x>\nIn-Reply-To: <c@x>\n\nHello")
    assert found.references == ["<a@x>", "<b@x>", "<c@x>", "<1@example.org>"]


def test_a_subject_is_one_line_whatever_was_in_it() -> None:
    raw = "From: a@example.org\nSubject: =?utf-8?Q?Hello=0D=0ABcc:_x@example.org?=\n\nHi"
    message = parsed(raw.encode())
    assert message is not None
    assert read(message, None).subject == "Hello Bcc: x@example.org"


NEW = {
    "all new": ("Hello\n\nHow are you?", "Hello\n\nHow are you?"),
    "above": ("New.\n\nOn Mon, 1 Jan 2024 at 10:00, Aria wrote:\n> Old.\n> Older.", "New."),
    "below": ("On Mon, 1 Jan 2024, Aria <a@x> wrote:\n> Old.\n\nNew.", "New."),
    "between": ("> One?\n\nYes.\n\n> Two?\n\nNo.", "Yes.\n\nNo."),
    "over two lines": (
        "New.\n\nOn Mon, 1 Jan 2024 at 10:00, Aria Waifu <aria@waifu.example>\nwrote:\n> Old.",
        "New.",
    ),
    "unmarked": ("New.\n\nOn Mon, 1 Jan 2024, Aria <a@x> wrote:\n\nOld text.", "New."),
    "German": ("Neu.\n\nAm 01.01.2024 um 10:00 schrieb Aria:\n> Alt.", "Neu."),
    "French": ("Neuf.\n\nLe lun. 1 janv. 2024 à 10:00, Aria <a@x> a écrit :\n> Vieux.", "Neuf."),
    "Spanish": ("Nuevo.\n\nEl lun, 1 ene 2024, Aria (<a@x>) escribió:\n> Viejo.", "Nuevo."),
    "Japanese": ("新しい。\n\n2024年1月1日(月) 10:00 Aria <a@x>:\n> 古い。", None),
    "Chinese": ("新的。\n\nAria <a@x> 于2024年1月1日 写道:\n> 旧的。", "新的。"),
    "Russian": ("Новое.\n\n1 янв. 2024 г., Aria <a@x> написал:\n> Старое.", "Новое."),
    "Outlook": (
        "New.\n\n________________________________\nFrom: Aria <a@x>\nSent: Monday\n\nOld.",
        "New.",
    ),
    "Outlook without a rule": ("New.\n\nFrom: Aria\nSent: Monday\nSubject: Hi\n\nOld.", "New."),
    "Outlook in German": ("Neu.\n\nVon: Aria\nGesendet: Montag\nBetreff: Hi\n\nAlt.", "Neu."),
    "a divider": ("New.\n\n-----Original Message-----\nOld.", "New."),
    "a signature": ("New.\n\n-- \nAnna\nDirector", "New."),
    "nothing but a quote": ("> Old.", "> Old."),
    "nothing but a forward": (
        "---------- Forwarded message ---------\nFrom: B\nOld.",
        "---------- Forwarded message ---------\nFrom: B\nOld.",
    ),
    "a sentence that looks like it": ("I like what she wrote:\nall of it", None),
    "from, in a sentence": ("From: my heart\nThank you", "From: my heart\nThank you"),
}


@pytest.mark.parametrize("name", NEW)
def test_only_what_is_new_is_read(name: str) -> None:
    said, new = NEW[name]
    found = new_part(said)
    assert found == new if new is not None else said.split("\n")[0] in found


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<style>p{}</style><script>x()</script>Hi", "Hi"),
        ("<title>T</title>Hi &amp; bye&nbsp;!", "Hi & bye !"),
        ("New<blockquote type=cite>Old</blockquote>", "New"),
        ("New<div class='gmail_quote'>On Monday<blockquote>Old</blockquote></div>", "New"),
        ("New<div id=divRplyFwdMsg>From: A</div>", "New"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<b>never closed", "never closed"),
        ("</p></div>never opened", "never opened"),
    ],
)
def test_html_becomes_what_a_reader_sees(html: str, text: str) -> None:
    assert text_of(html) == text


def test_html_as_deep_as_a_well_is_read() -> None:
    assert text_of("<div>" * 15_000 + "Hi") == "Hi"


SLOW_HEADERS = {
    "encoded words": f"Subject: {'=?a?q?x ' * 100_000}\n\nHi",
    "parameters": f"Content-Type: multipart/mixed{';' * 500_000}\n\nHi",
    "a disposition": f"Content-Disposition: attachment{';' * 500_000}\n\nHi",
    "a file's name": "Content-Type: image/png\nContent-Disposition: attachment; "
    f'filename="{"=?a?q?x " * 100_000}"\n\nHi',
    "references": f"References: {'<' * 500_000}\n\nHi",
    "a sender": f"Sender: {'(' * 500_000}\n\nHi",
}
SLOW_HTML = {
    "tags": "<a " * 300_000,
    "attributes": "<a b='" * 200_000,
    "attributes that end": "<a b='>" * 20_000 + '<a b=">' * 20_000,
    "comments": "<!-- " * 200_000,
    "scripts": "<script " * 100_000,
    "declarations": "<! " * 200_000 + "<![" * 100_000,
    "ends": "<div>" * 499 + "</p>" * 100_000,
    "ends below many that are open": "<i>" * 15_000 + "</p>" * 13_000,
    "references": "&#" * 500_000,
}


def seconds_for(raw: str) -> float:
    begun = time.perf_counter()
    message = parsed(raw.encode())
    assert message is not None
    why_not(message, None, set())
    read(message, None)
    return time.perf_counter() - begun


@pytest.mark.parametrize("name", SLOW_HEADERS)
def test_no_header_keeps_the_module_busy(name: str) -> None:
    assert seconds_for("From: anna@example.org\n" + SLOW_HEADERS[name]) < 2


@pytest.mark.parametrize("sender", ["(" * 60_000, "<" * 60_000, "a," * 30_000])
def test_no_sender_of_an_envelope_keeps_the_module_busy(sender: str) -> None:
    begun = time.perf_counter()
    assert address_in(sender) == ""
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize("name", SLOW_HTML)
def test_no_markup_keeps_the_module_busy(name: str) -> None:
    head = "From: anna@example.org\nContent-Type: text/html\n\n"
    assert seconds_for(f"{head}{SLOW_HTML[name]}") < 2


def test_a_picture_in_a_tag_hides_no_text() -> None:
    picture = f"<img src='data:image/png;base64,{'A' * 50_000}'>"
    style = f"<style><!-- {'p {}' * 50_000} --></style>"
    assert text_of(f"{style}One{picture}<p>Two") == "One\nTwo"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([HEAD, "", "Subject: =?x?Q?", "From: <<>>\n"]))
def test_nothing_that_anybody_sends_breaks_the_reading(raw: bytes, head: str) -> None:
    message = parsed(head.encode() + raw)
    assert message is not None
    why_not(message, None, {"aria@waifu.example"})
    assert read(message, None).text is not None
