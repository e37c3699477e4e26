"""Events of Amazon SES, as a configuration set publishes them (`eventType`) or as an identity's feedback (`notificationType`).

Facts: docs.aws.amazon.com, "Contents of event data that Amazon SES publishes to Amazon SNS". A bounce lists its recipients; an
open or click does not say which of several recipients it was. With both kinds of publishing on, one bounce comes twice, under one
feedbackId.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from syncd.connectors.email_insights.events import (
    BOUNCED,
    CLICKED,
    OPENED,
    BounceKind,
    MailEvent,
    bounce_kind,
    event_time,
    is_prefetch,
    text_at,
)
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed

FAMILY = "ses"
TYPES = {"Open": OPENED, "Click": CLICKED, "Bounce": BOUNCED}
"""eventType or notificationType -> signal type."""
BOUNCES: Mapping[str, BounceKind] = {"Permanent": "hard", "Transient": "soft"}
"""bounceType -> kind; of an Undetermined one the receiving server's answer decides."""
NOT_SENT = frozenset({"Suppressed", "OnAccountSuppressionList"})
"""bounceSubType of emails that SES did not send at all, because of an earlier bounce or complaint."""


def read_message(message: Any, where: str) -> list[MailEvent] | str:
    """The events of a message, one for each recipient, or why it is dropped. Raises Malformed."""
    if not isinstance(message, Mapping):
        raise Malformed(f"{where}: not an event of SES")
    name = text_at(message, "eventType") or text_at(message, "notificationType")
    if not name:
        raise Malformed(f"{where}: not an event of SES")
    type_ = TYPES.get(name)
    if type_ is None:
        return f"event {name[:40]}"
    what, mail = _within(message, name.lower()), _within(message, "mail")
    at, id_ = time_or_none(what.get("timestamp")), text_at(mail, "messageId")
    if at is None or not id_:
        raise Malformed(f"{where}: an event {name} without messageId or timestamp")
    tags = {str(key): value for key, value in _within(mail, "tags").items() if not str(key).startswith("ses:")}
    recipients = (
        [one for one in mail.get("destination") or () if isinstance(one, str)]
        if isinstance(mail.get("destination"), list)
        else []
    )
    event = MailEvent(
        family=FAMILY,
        account=text_at(mail, "sendingAccountId"),
        type=type_,
        id=f"{event_time(at)} {text_at(what, 'ipAddress')}",
        message=id_,
        recipient=recipients[0] if len(recipients) == 1 else "",
        at=at,
        subject=text_at(_within(mail, "commonHeaders"), "subject"),
        link=text_at(what, "link"),
        machine=is_prefetch(text_at(what, "userAgent")),
        data={"custom": tags, "recipients": recipients if len(recipients) > 1 else []},
    )
    if type_ != BOUNCED:
        return [event]
    if text_at(what, "bounceSubType") in NOT_SENT:
        return f"not sent: {text_at(what, 'bounceSubType')}"
    made = list(_bounces(event, what))
    if not made:
        raise Malformed(f"{where}: an event Bounce without recipients")
    return made


def _bounces(event: MailEvent, bounce: Mapping[str, Any]) -> Iterator[MailEvent]:
    told = BOUNCES.get(text_at(bounce, "bounceType"))
    code = " ".join(text for name in ("bounceType", "bounceSubType") if (text := text_at(bounce, name)))
    held = bounce.get("bouncedRecipients")
    for one in held if isinstance(held, list) else ():
        if not isinstance(one, Mapping) or not text_at(one, "emailAddress"):
            continue
        status, said = text_at(one, "status"), text_at(one, "diagnosticCode")
        yield MailEvent(
            family=event.family,
            account=event.account,
            type=event.type,
            id=text_at(bounce, "feedbackId") or event.id,
            message=event.message,
            recipient=text_at(one, "emailAddress"),
            at=event.at,
            subject=event.subject,
            bounce=bounce_kind(told, status, said),
            code=code,
            status=status,
            diagnostic=said,
            data={"custom": event.data["custom"]},
        )


def _within(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = message.get(name)
    return value if isinstance(value, Mapping) else {}
