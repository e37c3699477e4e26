"""An invitation (RFC 5545, RFC 5546) as text that a person reads: what, when, where. `content` calls it.

Pure, bounded and total; times are shown as the calendar gives them, with its zone.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from syncd.connectors.text import clean, one_line, tidy

_CAP = 200_000
_EVENTS_CAP = 5
_LINE = re.compile(r"([A-Za-z0-9-]{1,40})((?:;[^\":;]*(?:\"[^\"]*\"[^\":;]*)*)*):(.*)", re.DOTALL)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?(Z?))?")
_DURATION = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,3})H)?(?:(\d{1,4})M)?(?:\d{1,5}S)?)?")
_METHODS = {
    "CANCEL": "Cancelled",
    "COUNTER": "Another time is proposed",
    "DECLINECOUNTER": "The other time is declined",
}
_ANSWERS = {"ACCEPTED": "Accepted", "DECLINED": "Declined", "TENTATIVE": "Accepted tentatively"}
_COMPONENTS = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"})

CalendarProperty = tuple[dict[str, str], str]
"""(parameters, value)."""


def calendar_text(text: str) -> str:
    """What the invitation says; ``""`` for any other part."""
    method, events = read_calendar(text)
    said = [one for event in events if (one := _event_text(method, event))]
    return tidy("\n\n".join(said))


def read_calendar(text: str) -> tuple[str, list[dict[str, list[CalendarProperty]]]]:
    """(method, the properties of each event by name: parameters and value). Alarms and zones inside are left out."""
    method, events = "", list[dict[str, list[CalendarProperty]]]()
    inside: list[str] = []
    for line in unfolded(text):
        found = _LINE.fullmatch(line.strip("\ufeff"))
        if not found:
            continue
        name, value = found[1].upper(), found[3]
        if name == "BEGIN":
            inside.append(value.strip().upper())
            if inside[-1] in _COMPONENTS and len(events) < _EVENTS_CAP:
                events.append({})
        elif name == "END":
            inside = inside[:-1]
        elif name == "METHOD":
            method = value.strip().upper()
        elif inside and inside[-1] in _COMPONENTS and events:
            events[-1].setdefault(name, []).append((_parameters(found[2]), value))
    return method, events


def unfolded(text: str) -> list[str]:
    """Its lines, of a bounded text, each whole (RFC 5545 3.1)."""
    return re.sub(r"\n[ \t]", "", clean(text[:_CAP])).split("\n")


def _parameters(text: str) -> dict[str, str]:
    pairs = re.findall(r";([^=;\"]+)=(\"[^\"]*\"|[^;\"]*)", text)
    return {name.upper(): value.strip('"') for name, value in pairs}


def _event_text(method: str, event: dict[str, list[CalendarProperty]]) -> str:
    def first(name: str) -> CalendarProperty:
        return event.get(name, [({}, "")])[0]

    said = unescaped(first("DESCRIPTION")[1])
    answers = [_ANSWERS.get(parameters.get("PARTSTAT", "").upper(), "") for parameters, _ in event.get("ATTENDEE", ())]
    status = next(filter(None, answers), "") if method == "REPLY" else _METHODS.get(method, "")
    rows = [
        status,
        one_line(unescaped(first("SUMMARY")[1])),
        _labelled("When", _period(first("DTSTART"), first("DTEND"), first("DURATION")[1])),
        _labelled("Where", one_line(unescaped(first("LOCATION")[1]))),
        _labelled("Comment", one_line(unescaped(first("COMMENT")[1]))),
    ]
    return "\n\n".join(filter(None, (said, "\n".join(filter(None, rows)))))


def _labelled(label: str, value: str) -> str:
    return f"{label}: {value}" if value else ""


def unescaped(value: str) -> str:
    """A text value (RFC 5545 3.3.11)."""
    return re.sub(r"\\([nN\\,;:\"])", lambda found: "\n" if found[1] in "nN" else found[1], value).strip()


def _period(start: CalendarProperty, end: CalendarProperty, duration: str) -> str:
    """`2026-12-03 13:00–14:00 UTC`, `2026-12-03 13:00 Europe/Berlin`, `2026-12-03`."""
    begins, zone, whole_day = _moment(start)
    if begins is None:
        return ""
    ends, _, _ = _moment(end)
    if ends is None and (length := _DURATION.fullmatch(duration.strip())):
        weeks, days, hours, minutes = (int(part or 0) for part in length.groups())
        ends = begins + timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
    if whole_day:
        last = ends - timedelta(days=1) if ends and ends > begins else begins  # RFC 5545: the end is not part of it
        return f"{begins:%Y-%m-%d}" + (f"–{last:%Y-%m-%d}" if last > begins else "")
    until = ""
    if ends and ends > begins:
        until = f"–{ends:%H:%M}" if ends.date() == begins.date() else f" – {ends:%Y-%m-%d %H:%M}"
    return f"{begins:%Y-%m-%d %H:%M}{until} {zone}".strip()


def _moment(value: CalendarProperty) -> tuple[datetime | None, str, bool]:
    """(the time as written, its zone, whether it is a whole day)."""
    parameters, text = value
    found = _TIME.match(text.strip())
    if not found:
        return None, "", False
    year, month, day, hour, minute, utc = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0))  # noqa: DTZ001 - as written
    except ValueError:
        return None, "", False
    return moment, "UTC" if utc else one_line(parameters.get("TZID", "")).strip("/"), hour is None
