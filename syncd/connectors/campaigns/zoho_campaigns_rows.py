"""What recipients of Zoho Campaigns did, as its reports and the Email API say it: events, and times without a zone. Pure.

Facts: zoho.com/campaigns/help, "Get Campaign Recipients Data" and "Email API", Events; the names in a report's rows and their two
ways to write a time were seen by others in live accounts and differ from the manual, so each has several names here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from typing import Any

from syncd.connectors.email_insights.events import BounceKind, MailEvent, bounce_kind, event_time, text_at
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.signals import frame
from syncd.time_cursor import ItemMark, mark_of

FAMILY = "zoho_campaigns"
ACTIONS: Mapping[str, tuple[str, BounceKind | None]] = {
    "openedcontacts": ("opened", None),
    "clickedcontacts": ("clicked", None),
    "senthardbounce": ("bounced", "hard"),
    "sentsoftbounce": ("bounced", "soft"),
}
"""`action` of a report of recipients -> what they did."""
EVENTS: Mapping[str, str] = {"email_open": "opened", "email_click": "clicked", "bounce": "bounced"}
"""`action` of a webhook of the Email API -> what its recipient did; a report of events has the same rows."""
BOUNCES: Mapping[str, BounceKind] = {"hard": "hard", "soft": "soft"}
TIMES = ("time", "bouncedDate", "opened_time", "open_time", "clicked_time", "click_time", "bounced_time")
"""Where a report's row has the time of an event; the first that is there counts. `sent_time` is that of the email."""
_EMAILS = ("contactemailaddress", "contact_email", "email")
_NAMES = (("contactfn", "firstname"), ("contactln", "lastname"))
_LINKS = ("click_url", "clickedlink", "clicked_link", "link", "url")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_TIME = re.compile(
    r"""(?: (?P<month>[A-Za-z]{3,9}) \s+ (?P<day>\d{1,2}) , | (?P<day2>\d{1,2}) \s+ (?P<month2>[A-Za-z]{3,9}) ,? )
    \s* (?P<year>\d{4}) ,? \s+ (?P<hour>\d{1,2}) : (?P<minute>\d\d) (?: : (?P<second>\d\d) )? \s* (?P<half>[AaPp])\.?[Mm]\.?""",
    re.VERBOSE,
)
"""`Feb 12, 2026 12:08 PM` of opens and clicks, `12 Feb 2026, 12:01 PM` of bounces."""

Row = dict[str, Any]


def local_time(value: Any, zone: tzinfo) -> datetime | None:
    """The moment in UTC of a time as a report writes it, in the account's zone; also of Unix milliseconds. None for what is not
    one."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return time_or_none(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else None
    month = (found["month"] or found["month2"])[:3].lower()
    hour = int(found["hour"]) % 12 + (12 if found["half"] in "pP" else 0)
    try:
        at = datetime(
            int(found["year"]),
            _MONTHS.index(month) + 1,
            int(found["day"] or found["day2"]),
            hour,
            int(found["minute"]),
            int(found["second"] or 0),
            tzinfo=zone,
        )
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def rows_of(campaign: Mapping[str, Any], action: str, recipients: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """One row for everything that a recipient did, complete in itself. Reports may list several events of a recipient."""
    for recipient in recipients:
        who = {name: value for name, value in recipient.items() if name != "reports"}
        listed = recipient.get("reports")
        listed = listed.get("report") if isinstance(listed, Mapping) else listed
        events = listed if isinstance(listed, list) else [listed] if isinstance(listed, Mapping) else [{}]
        for event in events or [{}]:
            yield {"action": action, "campaign": dict(campaign), "recipient": who, "did": event}


def told_time(row: Mapping[str, Any]) -> Any:
    """The time of a row's event as the report writes it; None if there is none."""
    held = {**_within(row, "recipient"), **_within(row, "did")}
    return next((held[name] for name in TIMES if held.get(name) not in (None, "", "null")), None)


def mark(row: Mapping[str, Any], zone: tzinfo) -> ItemMark | None:
    """By who did it, to which link, and when: a report gives an event no id."""
    same = frame(_email(row), _first(row, _LINKS))
    return mark_of(sha256(same.encode()).hexdigest()[:16], local_time(told_time(row), zone))


def read_row(row: Any, zone: tzinfo, where: str) -> MailEvent | str:
    """The event of a row of `rows_of`, or why it is dropped. Raises Malformed."""
    if not isinstance(row, Mapping) or row.get("action") not in ACTIONS:
        raise Malformed(f"{where}: not a row of a report of Zoho Campaigns")
    (act, kind), campaign, email = ACTIONS[str(row["action"])], _within(row, "campaign"), _email(row)
    key, told = text_at(campaign, "campaign_key"), told_time(row)
    if told is None:
        return "a row without a time"
    at = local_time(told, zone)
    if at is None or not key or not email:
        raise Malformed(f"{where}: a recipient without campaign or email address, or {str(told)[:40]!r} is not a time")
    first, last = (_first(row, names) for names in _NAMES)
    return MailEvent(
        family=FAMILY,
        type=f"campaign.{act}",
        id=str(told).strip(),
        message=f"{key}/{email.lower()}",
        recipient=email,
        name=f"{first} {last}".strip(),
        at=at,
        subject=text_at(campaign, "subject"),
        link=_first(row, _LINKS) if act == "clicked" else "",
        url=text_at(campaign, "campaign_preview"),
        campaign=text_at(campaign, "campaign_name"),
        bounce=kind,
        diagnostic=_first(row, ("bounce_reason", "bouncereason", "reason")) if act == "bounced" else "",
        data={"campaign_key": key},
    )


def read_event(row: Any, action: str, channel: str, where: str) -> MailEvent | str:
    """The event of one item of `data` of the Email API, whose `action` it is, or why it is dropped. `channel`: email, or
    campaign. Raises Malformed."""
    act = EVENTS.get(action)
    if act is None:
        return f"event {action[:40]}"
    if not isinstance(row, Mapping):
        raise Malformed(f"{where}: {type(row).__name__} instead of an event of Zoho Campaigns")
    at, email = time_or_none(row.get("action_time")), text_at(row, "contact_email")
    message = text_at(row, "transmission_id")
    if at is None or not email or not message:
        raise Malformed(f"{where}: an event without action_time, contact_email or transmission_id")
    reason, kind = text_at(row, "bounce_reason"), text_at(row, "bounce_type").lower()
    return MailEvent(
        family=FAMILY,
        type=f"{channel}.{act}",
        id=event_time(at),
        message=message,
        recipient=email,
        at=at,
        link=next((text for name in _LINKS if (text := text_at(row, name))), "") if act == "clicked" else "",
        campaign=text_at(row, "transmission_name"),
        bounce=bounce_kind(BOUNCES.get(kind), "", reason) if act == "bounced" else None,
        code=kind if act == "bounced" else "",
        diagnostic=reason if act == "bounced" else "",
        data={"contact_id": text_at(row, "contact_id")},
    )


def _email(row: Mapping[str, Any]) -> str:
    return _first(row, _EMAILS)


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first text under any of these names, of the event or of the recipient; Zoho writes "null" for nothing."""
    held = {**_within(row, "recipient"), **_within(row, "did")}
    return next((text for name in names if (text := text_at(held, name)) not in ("", "null")), "")


def _within(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}
