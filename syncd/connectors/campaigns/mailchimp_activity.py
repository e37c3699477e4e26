"""What recipients of Mailchimp's campaigns did, as Mailchimp's reports have it: one row for each open, click and bounce.

Facts: mailchimp.com/developer, "Marketing API", reports: email-activity. Opens by Apple's Mail Privacy Protection are among
them and not marked (`opens.proxy_excluded_opens` of a report counts the others).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from syncd.connectors.email_insights.events import BounceKind, MailEvent, bounce_kind, event_time, text_at
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.signals import frame
from syncd.time_cursor import ItemMark, mark_of

FAMILY = "mailchimp"
OPENED, CLICKED, BOUNCED = "campaign.opened", "campaign.clicked", "campaign.bounced"
TYPES = {"open": OPENED, "click": CLICKED, "bounce": BOUNCED}
"""action -> signal type."""
BOUNCES: Mapping[str, BounceKind] = {"hard": "hard", "soft": "soft"}
"""`type` of a bounce -> kind."""

Row = dict[str, Any]


def rows_of(campaign: Mapping[str, Any], recipients: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """One row for everything that a recipient did, complete in itself: who, what, and of which campaign."""
    about = {
        "campaign_id": text_at(campaign, "id"),
        "web_id": text_at(campaign, "web_id"),
        "subject": text_at(_within(campaign, "settings"), "subject_line"),
        "name": text_at(_within(campaign, "settings"), "title"),
        "list_id": text_at(_within(campaign, "recipients"), "list_id"),
        "list_name": text_at(_within(campaign, "recipients"), "list_name"),
    }
    for recipient in recipients:
        who = {"email_id": recipient.get("email_id"), "email_address": recipient.get("email_address")}
        did = recipient.get("activity") or []
        for one in did if isinstance(did, list) else [did]:
            yield {**about, **who, "did": one}


def read_row(row: Any, where: str, *, name: str = "", url: str = "") -> MailEvent | str:
    """The event of a row of `rows_of`, or why it is dropped. Raises Malformed."""
    did = _within(row, "did") if isinstance(row, Mapping) else {}
    action = text_at(did, "action")
    if not action:
        raise Malformed(f"{where}: not an email activity of Mailchimp")
    type_ = TYPES.get(action)
    if type_ is None:
        return f"activity {action[:40]}"
    at, campaign, email = time_or_none(did.get("timestamp")), text_at(row, "campaign_id"), text_at(row, "email_address")
    if at is None or not campaign or not email:
        raise Malformed(f"{where}: an activity {action} without campaign, email_address or timestamp")
    kind = text_at(did, "type")
    return MailEvent(
        family=FAMILY,
        type=type_,
        id=event_time(at),
        message=f"{campaign}/{text_at(row, 'email_id') or email.lower()}",
        recipient=email,
        name=name,
        at=at,
        subject=text_at(row, "subject"),
        link=text_at(did, "url") if type_ == CLICKED else "",
        url=url,
        campaign=text_at(row, "name"),
        bounce=bounce_kind(BOUNCES.get(kind), "", "") if type_ == BOUNCED else None,
        code=kind if type_ == BOUNCED else "",
        data={"campaign_id": campaign, "list_id": text_at(row, "list_id"), "list": text_at(row, "list_name")},
    )


def did_at(row: Mapping[str, Any]) -> datetime | None:
    return time_or_none(_within(row, "did").get("timestamp"))


def mark(row: Mapping[str, Any]) -> ItemMark | None:
    """By who did what, to which link, and when: Mailchimp gives an activity no id."""
    did = _within(row, "did")
    same = frame(text_at(row, "email_id") or text_at(row, "email_address"), text_at(did, "action"), text_at(did, "url"))
    return mark_of(sha256(same.encode()).hexdigest()[:16], did_at(row))


def _within(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}
