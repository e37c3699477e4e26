"""Events of SendGrid's Event Webhook.

Facts: docs.sendgrid.com, "Event Webhook Reference". The sender's custom arguments stand flat beside SendGrid's own fields and may
have any name; `category` is a text or a list. The part of `sg_message_id` from the first dot names a server, not the email. An
open or click need not have the `smtp-id` that a delivery has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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

FAMILY = "sendgrid"
TYPES = {"open": OPENED, "click": CLICKED, "bounce": BOUNCED}
"""event -> signal type."""
BOUNCES: Mapping[str, BounceKind] = {"bounce": "hard", "blocked": "soft"}
"""`type` of a bounce -> kind: a blocked email was refused for other reasons than its address."""
OWN_FIELDS = frozenset(
    "email timestamp event sg_event_id sg_message_id smtp-id category response attempt reason status type "  # noqa: SIM905
    "bounce_classification url url_offset useragent ip sg_machine_open sg_content_type sg_user_id sg_template_id "
    "sg_template_name asm_group_id send_at tls cert_err pool newsletter marketing_campaign_id marketing_campaign_name "
    "marketing_campaign_version marketing_campaign_split_id singlesend_id singlesend_name post_type template_id".split()
)
"""SendGrid's own fields; what else an event has is the sender's."""
_CAMPAIGN = ("singlesend_name", "marketing_campaign_name", "singlesend_id", "marketing_campaign_id")


def read_event(event: Any, where: str) -> MailEvent | str:
    """The event, or why it is dropped. Raises Malformed."""
    name = event.get("event") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(name, str) or not name:
        raise Malformed(f"{where}: not an event of SendGrid")
    type_ = TYPES.get(name)
    if type_ is None:
        return f"event {name[:40]}"
    rfc_id = text_at(event, "smtp-id").strip("<>")
    message = text_at(event, "sg_message_id").partition(".")[0] or rfc_id
    at, recipient, id_ = _time(event), text_at(event, "email"), text_at(event, "sg_event_id")
    if at is None or not recipient or not id_:
        raise Malformed(f"{where}: an event {name} without email, sg_event_id or timestamp")
    status, reason, kind = text_at(event, "status"), text_at(event, "reason"), text_at(event, "type")
    bounced = type_ == BOUNCED
    return MailEvent(
        family=FAMILY,
        type=type_,
        id=id_,
        message=message or id_,
        rfc_id=rfc_id,
        recipient=recipient,
        at=at,
        link=text_at(event, "url") if type_ == CLICKED else "",
        tags=_categories(event),
        campaign=next((text for field in _CAMPAIGN if (text := text_at(event, field))), ""),
        machine=_is_true(event.get("sg_machine_open")) or (not bounced and is_prefetch(text_at(event, "useragent"))),
        bounce=bounce_kind(BOUNCES.get(kind), status, reason) if bounced else None,
        code=(text_at(event, "bounce_classification") or kind) if bounced else "",
        status=status if bounced else "",
        diagnostic=reason if bounced else "",
        data={"custom": {str(key): value for key, value in event.items() if key not in OWN_FIELDS}},
    )


def _time(event: Mapping[str, Any]) -> datetime | None:
    at = event.get("timestamp")
    return None if isinstance(at, bool) else time_or_none(at)


def _categories(event: Mapping[str, Any]) -> tuple[str, ...]:
    held = event.get("category")
    return tuple(str(one) for one in (held if isinstance(held, list) else [held]) if isinstance(one, str | int) and one)


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
