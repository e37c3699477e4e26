"""Events of Mailgun, which webhooks and the Events API write alike.

Facts: documentation.mailgun.com, "Events" and "Tracking Failures". An event's id is unique within a day. A permanent failure may
be of an address that does not exist, of an email that was refused, or after the last of several attempts: the answer of the
receiving server decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.connectors.email_insights.events import (
    BOUNCED,
    CLICKED,
    OPENED,
    BounceKind,
    MailEvent,
    bounce_kind,
    is_prefetch,
    text_at,
)
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed

FAMILY = "mailgun"
TYPES = {"opened": OPENED, "clicked": CLICKED, "failed": BOUNCED}
"""event -> signal type."""
BOUNCES: Mapping[str, BounceKind] = {"hard": "hard", "soft": "soft"}
"""`delivery-status.bounce-type` -> kind, where an event has it."""
REASONS: Mapping[str, BounceKind] = {"old": "soft"}
"""`reason` -> kind: given up after attempts of hours (unverified)."""
NOT_SENT = ("suppress-bounce", "suppress-unsubscribe", "suppress-complaint")
"""Reasons of emails that Mailgun did not send at all, because of what happened earlier."""


def read_event(event: Any, domain: str, where: str) -> MailEvent | str:
    """The event of this domain, or why it is dropped. Raises Malformed."""
    name = event.get("event") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(name, str) or not name:
        raise Malformed(f"{where}: not an event of Mailgun")
    of = text_at(_within(event, "domain"), "name")
    if of and of.lower() != domain:
        return "another domain"
    type_ = TYPES.get(name)
    if type_ is None:
        return f"event {name[:40]}"
    if type_ == BOUNCED and (why := _no_bounce(event)):
        return why
    at, recipient = occurred_at(event), text_at(event, "recipient")
    if at is None or not recipient or not text_at(event, "id"):
        raise Malformed(f"{where}: an event {name} without id, recipient or timestamp")
    id_ = event_id(event, at)
    headers = _within(_within(event, "message"), "headers")
    rfc_id = text_at(headers, "message-id").strip("<>")
    client = _within(event, "client-info")
    status = _within(event, "delivery-status")
    said = text_at(status, "message") or text_at(status, "description")
    code = text_at(status, "enhanced-code") or text_at(status, "bounce-code")
    told = BOUNCES.get(text_at(status, "bounce-type")) or REASONS.get(text_at(event, "reason"))
    bounced = type_ == BOUNCED
    return MailEvent(
        family=FAMILY,
        account=domain,
        type=type_,
        id=id_,
        message=rfc_id or id_,
        rfc_id=rfc_id,
        recipient=recipient,
        at=at,
        subject=text_at(headers, "subject"),
        link=text_at(event, "url") if type_ == CLICKED else "",
        tags=_names(event.get("tags")),
        campaign=next(iter(_names(event.get("campaigns"))), ""),
        machine=bool(text_at(client, "bot")) or is_prefetch(text_at(client, "user-agent")),
        bounce=bounce_kind(told, code, said) if bounced else None,
        code=text_at(event, "reason") if bounced else "",
        status=code if bounced else "",
        diagnostic=said if bounced else "",
        data={"custom": dict(_within(event, "user-variables"))},
    )


def occurred_at(event: Mapping[str, Any]) -> datetime | None:
    at = event.get("timestamp")
    return None if isinstance(at, bool) else time_or_none(at)


def event_id(event: Mapping[str, Any], at: datetime) -> str:
    """With the day (UTC), within which Mailgun's id is unique."""
    return f"{at.astimezone(UTC).date().isoformat()} {text_at(event, 'id')}"


def _no_bounce(event: Mapping[str, Any]) -> str:
    suppressed, severity = text_at(event, "reason"), text_at(event, "severity")
    if suppressed in NOT_SENT:
        return f"not sent: {suppressed}"
    return "" if severity == "permanent" else f"failed {severity or 'without severity'}"[:60]


def _within(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    return value if isinstance(value, Mapping) else {}


def _names(value: Any) -> tuple[str, ...]:
    """Tags are texts; campaigns are objects with a name."""
    held = (
        [one.get("name") or one.get("id") if isinstance(one, Mapping) else one for one in value or ()]
        if isinstance(value, list)
        else []
    )
    return tuple(str(one) for one in held if isinstance(one, str | int) and one)
