"""What machines say that say nothing of themselves in a header: in subjects, and where texts begin.
Subjects are told by how they begin; texts by whole sentences. That somebody is away says a person,
too, and whoever says so by a program says it once."""

from __future__ import annotations

import re

_FIRST = 800
"""Letters of a text. Below that somebody may tell of a machine."""
_AWAY = (
    r"(auto(matic|mated|matische|matisch|matisk|matiskt|matyczna|matick[áý])?[ _-]?"
    r"(reply|response|antwort|antwoord|svar|odpowied[źz]|odpověď|répon\w+|responder)\b)",
    r"auto: ",
    r"abwesenheits|abwesend[: ]",
    r"out of (the )?office( auto\w*| reply| response)?\s*([:\-–(\]]|$)",
    r"r[ée]ponse automatique|absence( du bureau)?\s*:",
    r"respuesta autom[áa]tica|fuera de la oficina",
    r"risposta automatica|fuori sede",
    r"resposta autom[áa]tica|aus[êe]ncia tempor[áa]ria",
    r"afwezig(heid)?\s*:|frånvaro(meddelande|\s*:)|fravær(smelding|\s*:)",
    r"poissa( toimistosta|olo(ilmoitus|viesti|\s*:)|\s*:)|automaattinen vastaus",
    r"otomatik (yanıt|cevap)|automatikus válasz|автоматический ответ|автоответ|автовідповідь",
    r"автоматична відповідь|自動返信|自動応答|自动回复|自动答复|自動回覆|자동 ?(회신|응답|답장)",
    r"vacation (reply|response|autoreply|message)|i am out of the office",
    r"(i am |i'm )?away from my (mail|email|desk|office)",
)
_RETURNED = (
    r"undeliver(ed|able)|non-?deliver(ed|able|y)|mail system error",
    r"delivery (status )?notification|delivery (failure|has failed|failed|incomplete|delayed)",
    r"mail delivery (failed|failure|system|subsystem)|returned mail|failure notice|fehlerbericht",
    r"message (undeliverable|blocked|not delivered|status - undeliverable)|rejected: ",
    r"warning: (message \S+ delayed|could not send message)",
    r"(nicht|un)zustell(bar|ung)|problem bei der zustellung",
    r"zustellung(.{0,60}(fehl|gescheitert|nicht|verzöger)|sbe(nachrichtigung|richt)|sstatus)",
    r"non remis|message non distribué|[ée]chec (de (la )?remise|d'envoi)|notification d'[ée]chec",
    r"no se (puede|ha podido) entregar|mensaje no entregado",
    r"mancat[oa] (recapito|consegna)|impossibile recapitare",
    r"não (entregue|é possível entregar)|falha na entrega|onbestelbaar",
    r"недоставлен\w+|не удается доставить|сообщение не доставлено",
    r"配信(不能|できません)|送信できませんでした|未配信|エラー通知",
    r"退信|系统退信|无法(投递|传递)|未送达|傳送失敗|無法傳遞|배달되지 않음|반송",
)
_RECEIPTS = (
    r"(not )?(read|gelesen|lu|leído|letto|lida|gelezen|läst|прочтено)\s?:",
    r"(开封|開封|開封済み|已读)\s?[:：]",
    r"(return|read) receipt|lesebestätigung|accusé de réception|confirmation de lecture",
    r"(accepted|declined|tentative|tentatively accepted|new time proposed|invitation"
    r"|updated invitation|cancell?ed|canceled event|zugesagt|abgelehnt|mit vorbehalt|einladung"
    r"|accept[ée]|refus[ée]|aceptad[oa]|rechazad[oa]|辞退|承諾)\s?: ",
)
_PROGRAMS = (
    r"test auto[- ]?reply|ticket (received|created|#)|\[?(request|ticket) received\]",
    r"we('ve| have) received your (message|request|e?mail)|case #? ?\d+",
    r"report domain: |(dmarc|tls-?rpt|smtp tls) (aggregate )?report",
    r"your message to .{1,80} awaits moderator approval|command confirmation request",
    r"(please )?(confirm|verify) your (e?mail|message|address)|challenge: ",
    r"(new )?fax (from|received)|(new )?voice ?mail (from|message)|scan(ned)? from ",
)
_SUBJECT = re.compile(rf"^\W*({'|'.join((*_AWAY, *_RETURNED, *_RECEIPTS, *_PROGRAMS))})", re.I)
_NOT_MY = "".join(
    rf"(?<!\b{each} )"
    for each in ("my", "my last", "meine", "letzte", "mon", "dernier", "mi", "mio", "mia", "мо[её]")
)
"""People tell that a mail of theirs came back, and write another."""
_NOT_DELIVERED = r"(couldn.t|could not|wasn.t|was not|cannot|can.t|has not been) (be )?delivered"
_SENTENCE = re.compile(
    "|".join(
        (
            # that a mail came back, as servers say it; what people send by post comes back, too
            r"this is the qmail-send program|this is the mail system at host",
            r"this is the postfix program|this message was created automatically by mail",
            rf"{_NOT_MY}(?<![\w-])(message|(e-?)?mail)( (?!i\b)\S+){{0,9}} {_NOT_DELIVERED}",
            r"had permanent fatal errors",
            r"delivery (to the following recipients?|has) failed|unable to deliver your message",
            r"unable to deliver (this|the) (message|mail)|exceeded (its|the) mailbox quota",
            rf"{_NOT_MY}(?<![\w-])((e-?mail-)?nachricht|(e-?)?mail)( (?!ich\b)\S+){{0,9}} "
            r"konnten? nicht (zugestellt|übermittelt) werden",
            rf"{_NOT_MY}message( \S+){{0,9}} n.a pas pu être (remis|délivré|distribué)",
            rf"{_NOT_MY}(mensaje|correo)( \S+){{0,9}} no se (ha )?(pudo|podido) entregar",
            rf"{_NOT_MY}(messaggio|mail)( \S+){{0,9}} non (è stat[oa]|può essere) "
            r"(recapitat|consegnat)",
            rf"{_NOT_MY}(сообщение|письмо)( \S+){{0,9}} не (было доставлено|может быть доставлено)",
            r"(メール|メッセージ)[^。]{0,60}(配信|配送|送信|お届け)(でき|され)ませんでした",
            r"(邮件|郵件)[^。]{0,40}(无法(投递|送达|发送)|無法(傳遞|送達))|宛先不明",
            r"(메일|메시지)[^.]{0,40}전송(되지|하지) (않|못)",
            # that a program says it, at the beginning of a sentence: people say that of us
            r"(^|[.!:*>-] ?)this (e-?mail|message|reply) (is|was|has been) auto(matically|-)? ?"
            r"(generated|sent)",
            r"(^|[.!:*>-] ?)this (is|was) an? auto(mat(ed|ic)|matically)?[ -](\w+ )?"
            r"(reply|response|message|e-?mail|notification)\b",
            r"(^|[.!:*>-] ?)(please )?do not (reply|respond) (directly )?to this (e-?mail|message)",
            r"\bdiese? .{0,30}automatisch (generiert|erzeugt|erstellt|versendet)",
            r"(^|[.!:*>-] ?)(bitte )?antworten sie (bitte )?nicht auf diese",
            r"ceci est une? (message|réponse|courriel) automatique|ne pas répondre à ce m",
            r"est[ea] (es )?(un|una)? ?(mensaje|respuesta|correo) (generado )?autom[áa]tic",
            r"no respond(a|er) a este (mensaje|correo)|non rispondere a questa (e-?)?mail",
            r"quest[oa] è un(a)? (messaggio|risposta|e-?mail) automatic",
            r"est[ea] é uma? (mensagem|resposta|e-?mail) automátic|não responda (a )?est[ea] ",
            r"dit is een automatisch|(это|данное) (сообщение|письмо) .{0,20}автоматическ",
            r"не отвечайте на это (сообщение|письмо)|автоматическое (сообщение|уведомление)\.",
            r"このメー?ルは.{0,20}自動|自動的?に?(送信|配信|返信)(されて|されました|して)",
            r"このメール(に|へ)(は)?返信(しない|いただ|でき)",
            r"由(系统|系統)自(动|動)|(请勿|請勿)(直接)?(回复|回覆)|一封自(动|動)(回复|回覆)",
            r"자동(으로)? ?(발송|회신)(된|되는)|발신 ?전용",
            # that a person should prove to be one
            r"(click|follow|visit|reply|below).{0,80}(verify|confirm|prove) (that )?you are "
            r"(a )?(human|person|real)",
            r"your message (is being|has been|was) held (for|until|because|\.)",
            r"reply to release (it|your)|to have your (e-?)?mail delivered",
            # that it is a ticket
            r"(your )?(request|ticket) \(?#?\w{3,20}\)? has been (received|created|opened|updated)",
            r"##- (please )?type your reply above",
        )
    ),
    re.I,
)


_ASKED = re.compile(r"[^.!?:;。！？–—]{0,40}([?？]|か(。|\s|$))")
"""Whether the sentence goes on as a question: whether something is automatic asks a person."""


def of_subject(subject: str) -> bool:
    return bool(_SUBJECT.match(subject))


def of_text(text: str) -> bool:
    """`text` is what is new in it: what is quoted below may be of a machine, and be asked about."""
    said = " ".join(text[:_FIRST].split())
    return any(not _ASKED.match(said, each.end()) for each in _SENTENCE.finditer(said))
