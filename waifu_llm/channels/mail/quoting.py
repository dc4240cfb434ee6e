"""What of a mail is new: without the history that its program put below or above it."""

from __future__ import annotations

import re

_SAID = "|".join(
    [
        r"wrote",
        r"writes",
        r"schrieb.*",
        r"a écrit",
        r"escribió",
        r"escreveu",
        r"ha scritto",
        r"schreef.*",
        r"skrev.*",
        r"kirjoitti",
        r"napisał\(?a?\)?",
        r"написала?",
        r"пише",
        r"yazdı",
        r"写道",
        r"寫道",
        r"のメール",
        r"さんは書きました",
        r"님이 작성",
    ]
)
_ATTRIBUTION = re.compile(rf"^\S.{{0,300}}?({_SAID})\s?[:：]\s*$", re.IGNORECASE)
_BEGINS = re.compile(
    r"^((on|am|le|el|il|op|em|den|dnia|w dniu|на|в)\b|\d{4}[年/.-]|\d{1,2}[./-]\d{1,2}).*\d",
    re.IGNORECASE,
)
"""The first of two lines that are an attribution together."""
_DIVIDER = re.compile(
    r"^-{2,}\s*(original message|ursprüngliche nachricht|originalnachricht|message d'origine|"
    r"mensaje original|mensagem original|messaggio originale|oorspronkelijk bericht|"
    r"forwarded message|weitergeleitete nachricht|исходное сообщение|原始邮件|元のメッセージ)"
    r"\s*-{2,}$",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^\*?(from|von|de|da|van|från|fra|od|от|发件人|差出人|보낸 사람)\s?[:：]\*?\s.+", re.IGNORECASE
)
_NEXT_HEADER = re.compile(
    r"^\*?(sent|date|to|subject|gesendet|datum|an|betreff|envoyé|enviado|inviato|verzonden|skickat|"
    r"sendt|wysłano|отправлено|дата|发送时间|送信日時|보낸 날짜)\s?[:：]",
    re.IGNORECASE,
)
_RULE = re.compile(r"^_{10,}$")
_LONGEST = 400
_SIGNATURE = re.compile(r"^-- ?$")


def new_part(text: str) -> str:
    """Without quoted lines, the line that announces them, and the signature. Where nothing would be
    left, all of it: somebody may have sent on a mail without a word."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if _ends_it(lines, at) or (_SIGNATURE.match(lines[at]) and any(kept)):
            break
        height = _attribution(lines, at)
        if height and not _is_quoted_next(lines, at + height):
            break  # the history follows without a mark
        if height:
            at += height
            continue
        if not line.startswith(">"):
            kept.append(lines[at].rstrip())
        at += 1
    new = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return new or text.strip()


def _ends_it(lines: list[str], at: int) -> bool:
    """All below is of another mail."""
    line = lines[at].strip()
    if _DIVIDER.match(line):
        return True
    if _RULE.match(line):
        return bool(_HEADER.match(_next_said(lines, at + 1)))
    near = (each.strip() for each in lines[at + 1 : at + 4])
    return bool(_HEADER.match(line)) and any(_NEXT_HEADER.match(each) for each in near)


def _attribution(lines: list[str], at: int) -> int:
    """Of how many lines the one is that says who wrote what follows; 0 where there is none."""
    line = lines[at].strip()
    if len(line) > _LONGEST:
        return 0
    if _ATTRIBUTION.match(line) and any(each.isdigit() or each in "@<" for each in line):
        return 1
    if at + 1 < len(lines) and _BEGINS.match(line) and not line.startswith(">"):
        both = f"{line} {lines[at + 1].strip()[:_LONGEST]}"
        if _ATTRIBUTION.match(both):
            return 2
    return 0


def _is_quoted_next(lines: list[str], at: int) -> bool:
    return _next_said(lines, at).startswith(">")


def _next_said(lines: list[str], at: int) -> str:
    return next((each.strip() for each in lines[at:] if each.strip()), "")
