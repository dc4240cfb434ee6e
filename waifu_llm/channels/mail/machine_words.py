"""What machines say that say nothing of themselves in a header: in subjects, and where texts begin.
Subjects are told by how they begin; a text by whole sentences, which few people write."""

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
    r"afwezig(heid)?\s*:|frånvaro|fravær|poissa|automaattinen vastaus",
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
    r"(nicht|un)zustell(bar|ung)|zustellung|problem bei der zustellung",
    r"non remis|message non distribué|[ée]chec (de (la )?remise|d'envoi)|notification d'[ée]chec",
    r"no se (puede|ha podido) entregar|mensaje no entregado",
    r"mancat[oa] (recapito|consegna)|impossibile recapitare|não (entregue|é possível entregar)|falha na entrega|onbestelbaar",
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
_SENTENCE = re.compile(
    "|".join(
        (
            # that it came back, as servers say it
            r"this is the qmail-send program|this is the mail system at host",
            r"this is the postfix program|this message was created automatically by mail",
            r"(couldn.t|could not|wasn.t|was not|cannot|can.t) be delivered|wasn.t delivered to",
            r"delivery (to the following recipients?|has) failed|unable to deliver your message",
            r"returned to (the )?sender|has exceeded its mailbox quota|address not found",
            r"(konnte|konnten) nicht (zugestellt|übermittelt) werden",
            r"n.a pas pu être (remis|délivré|distribué)|no se (ha )?pudo entregar|non recapitat",
            r"не (удалось|может быть) доставлен|не было доставлено",
            r"(配信|配送|送信|お届け)(でき|され)ませんでした|宛先不明|無法傳遞|无法(投递|送达|发送)",
            r"전송(되지|하지) (않|못)",
            # that a program says it
            r"this (is|was) an? auto(mat(ed|ic))?[ -]?(\w+ )?(generated|reply|response|message|e-?mail)",
            r"this (e-?mail|message|reply) (is|was|has been) auto(matically|-)? ?(generated|sent)",
            r"this is an automatically generated|do not (reply|respond) to this (e-?mail|message)",
            r"automatisch (generierte|erzeugte|erstellte|versendete)",
            r"antworten sie (bitte )?nicht auf",
            r"(message|réponse|courriel) (est )?(automatique|généré automatiquement)",
            r"ne pas répondre à (ce|cet)|respuesta automática|no respond(a|er) a este",
            r"messaggio (è stato generato )?automatic|non rispondere a quest|mensagem automática",
            r"não responda (a )?est|automatisch (gegenereerd|verzonden)|сформировано автоматически",
            r"автоматическое (сообщение|письмо)|не отвечайте на это",
            r"自動(で)?(送信|配信|返信|応答)|自動的に(送信|返信)|このメール(に|へ)(は)?返信",
            r"(系统|系統)自(动|動)|自动(回复|发送)|自動(回覆|發送)|请勿(直接)?回复|請勿(直接)?回覆",
            r"자동(으로)? ?(발송|회신|응답)|발신 ?전용|회신하지 마",
            # that somebody is away
            r"i( am|.m| will be) (currently )?(out of (the )?office|on (annual |sick )?leave)",
            r"i( am|.m) (currently )?on vacation|thank you for your e?-?mail\W+i( am|.m) (away|out)",
            r"ich bin (derzeit |zurzeit |aktuell |momentan )?(nicht im (büro|haus)|abwesend)",
            r"je suis (actuellement )?(absent|en congé)|estoy fuera de la oficina",
            r"休暇中|不在に?しており",
            # that a person should prove to be one
            r"(verify|confirm|prove) that you are (a )?(human|person|real)|sent by a human",
            r"added to (my|the|their) (list of )?(approved|allowed|allow-?list|white-?list)",
            r"spam ?arrest|boxtrapper|your message (is being|has been|was) held|awaiting moderat",
            r"confirm your request|to release your (e-?mail|message)",
            # that it is a ticket
            r"(your )?(request|ticket) \(?#?\w{3,20}\)? has been (received|created|opened|updated)",
            r"##- (please )?type your reply above",
        )
    ),
    re.I,
)


def of_subject(subject: str) -> bool:
    return bool(_SUBJECT.match(subject))


def of_text(text: str) -> bool:
    """`text` is what is new in it: what is quoted below may be of a machine, and be asked about."""
    return bool(_SENTENCE.search(" ".join(text[:_FIRST].split())))
