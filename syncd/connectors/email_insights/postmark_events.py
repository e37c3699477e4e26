"""Records of Postmark, as webhooks and the API write them, as events.

Facts: postmarkapp.com/developer, "Webhooks", "Message opens API", "Message clicks API", "Bounce API" (the types of bounces). The
published samples disagree on TypeCode, so `Type` counts. An open or click has no id of its own: its time, which has 7 digits of
a second, stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

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
from syncd.connectors.mail.bounce_kinds import find_status
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed

FAMILY = "postmark"
TYPES = {"Open": OPENED, "Click": CLICKED, "Bounce": BOUNCED}
"""RecordType -> signal type."""
BOUNCES: Mapping[str, BounceKind] = {
    "HardBounce": "hard",
    "BadEmailAddress": "hard",
    "SoftBounce": "soft",
    "DnsError": "soft",
    "Blocked": "soft",
    "SpamNotification": "soft",
    "VirusNotification": "soft",
    "SMTPApiError": "soft",
    "DMARCPolicy": "soft",
}
NOT_BOUNCES = frozenset(
    {
        "Transient",  # delayed: Postmark goes on trying
        "Unsubscribe",
        "Subscribe",
        "AutoResponder",
        "AddressChange",
        "OpenRelayTest",
        "ChallengeVerification",
        "SpamComplaint",
        "ManuallyDeactivated",
        "Unconfirmed",
        "InboundError",
        "TemplateRenderingFailed",
    }
)
"""Types that Postmark keeps among the bounces, of emails that arrived, are delayed, or were never sent."""


def read_record(record: Any, record_type: str, where: str) -> MailEvent | str:
    """The event of a record of this RecordType, or why it is dropped. Raises Malformed."""
    if not isinstance(record, Mapping) or not record_type:
        raise Malformed(f"{where}: not a record of Postmark")
    type_ = TYPES.get(record_type)
    if type_ is None:
        return f"event {record_type[:40]}"
    kind = text_at(record, "Type")
    if type_ == BOUNCED and kind in NOT_BOUNCES:
        return f"bounce {kind}"
    at = occurred_at(record, record_type)
    message, recipient = text_at(record, "MessageID"), text_at(record, "Email" if type_ == BOUNCED else "Recipient")
    if at is None or not message or not recipient:
        raise Malformed(f"{where}: a record {record_type} without MessageID, recipient or time")
    metadata = record.get("Metadata")
    event = MailEvent(
        family=FAMILY,
        type=type_,
        id=event_time(at),
        message=message,
        recipient=recipient,
        at=at,
        subject=text_at(record, "Subject"),
        tags=(tag,) if (tag := text_at(record, "Tag")) else (),
        data={"stream": text_at(record, "MessageStream"), "metadata": metadata if isinstance(metadata, dict) else {}},
    )
    return _bounce(event, record, kind) if type_ == BOUNCED else _seen(event, record)


def occurred_at(record: Mapping[str, Any], record_type: str) -> datetime | None:
    return time_or_none(record.get("BouncedAt" if record_type == "Bounce" else "ReceivedAt"))


def _seen(event: MailEvent, record: Mapping[str, Any]) -> MailEvent:
    return msgspec.structs.replace(
        event, link=text_at(record, "OriginalLink"), machine=is_prefetch(text_at(record, "UserAgent"))
    )


def _bounce(event: MailEvent, record: Mapping[str, Any], kind: str) -> MailEvent:
    """`Inactive`: Postmark will not send to the address any more, which it decides for hard bounces alone."""
    described = [text for name in ("Description", "Details") if (text := text_at(record, name))]
    diagnostic = "\n".join(described)
    status = find_status(text_at(record, "Details"))
    told = BOUNCES.get(kind) or ("hard" if record.get("Inactive") is True else None)
    return msgspec.structs.replace(
        event,
        id=text_at(record, "ID") or event.id,
        bounce=bounce_kind(told, status, diagnostic),
        code=kind,
        status=status,
        diagnostic=diagnostic,
    )
