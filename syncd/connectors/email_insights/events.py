"""What the sources of email insights and of campaigns share: an event of a mail service as a signal, and which events count.

Opens of one email by one recipient are one signal, and clicks on one link of it too: the events are counted (`Signal.repeat`).
What a machine fetched (Apple's Mail Privacy Protection, scanners of links) is left out or, if it is wanted, counted apart: it
does not say that anybody read the email. `person` is always the recipient.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from pydantic import Field

from syncd.connector import Batch, ConnectorSettings, Context, SignalSpec
from syncd.connectors.generic.making import reply_to
from syncd.connectors.mail.bounce_kinds import find_status, hardness
from syncd.connectors.text import one_line, shorten
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

OPENED, CLICKED, BOUNCED = "email.opened", "email.clicked", "email.bounced"
LONGEST_TITLE = 200
LONGEST_TEXT = 1000
APPLE_PRIVACY = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself when it fetches the images of a mail that nobody need have opened
(observed by several mail services; not documented by Apple)."""

BounceKind = Literal["hard", "soft"]


class InsightSettings(ConnectorSettings):
    """Keys that every source of email insights has."""

    machine_opens: bool = Field(
        False,
        description="also take opens and clicks that a machine made, in signals of their own with `data.machine`; "
        "otherwise they are counted as dropped",
    )
    soft_bounces: bool = Field(
        True, description="also take soft bounces: the email was not delivered, but the address may be right"
    )


class MailEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as a mail service tells it. `id`: what distinguishes it from every other event of its email. `message`: the
    service's id of the email; `rfc_id`: its Message-ID without brackets, "" if unknown. `tags`: the sender's tags or categories.
    `machine`: made by a machine. `bounce`, `code`, `diagnostic`: of a bounce; `code` is the service's own word for it. `data`:
    what else is worth keeping, equal in all events of the same kind of one email. `type`: `email.…`, or `campaign.…` with the
    campaign's name in `campaign`. `url`: where our staff see the email."""

    family: str
    type: str
    id: str
    message: str
    recipient: str
    at: datetime
    account: str = ""
    name: str = ""
    rfc_id: str = ""
    subject: str = ""
    link: str = ""
    url: str = ""
    tags: tuple[str, ...] = ()
    campaign: str = ""
    machine: bool = False
    bounce: BounceKind | None = None
    code: str = ""
    status: str = ""
    diagnostic: str = ""
    data: dict[str, Any] = {}

    @property
    def act(self) -> str:
        """The type within its channel: opened, clicked or bounced."""
        return self.type.rpartition(".")[2]


def specs(key: str, *, backfill: tuple[str, ...] = ()) -> tuple[SignalSpec, ...]:
    """The types of a source; `key`: what its service calls the email and the event. `backfill`: the types that can be fetched."""
    made = {
        OPENED: f"{key}: the email and its recipient; opens are counted",
        CLICKED: f"{key}: the email, its recipient and the link; clicks are counted",
        BOUNCED: f"{key}: the email, its recipient and the bounce",
    }
    return tuple(SignalSpec(type_, how, backfill=type_ in backfill) for type_, how in made.items())


def bounce_kind(kind: BounceKind | None, status: str, diagnostic: str) -> BounceKind:
    """`kind` where the service's own code tells it, else by the receiving server's answer."""
    return kind or hardness(status or find_status(diagnostic), diagnostic)


def is_prefetch(user_agent: str) -> bool:
    """Whether a machine fetched the images ahead of any reader. The proxies of Gmail and Yahoo fetch when the mail is opened."""
    return user_agent.strip() == APPLE_PRIVACY


def taken(event: MailEvent, settings: InsightSettings, context: Context, now: datetime, route: Route) -> Batch | str:
    """The event's signal, or why it is dropped. `now`: when it was received."""
    if event.machine and not settings.machine_opens:
        return "click of a machine" if event.type == CLICKED else "open of a machine"
    if event.bounce == "soft" and not settings.soft_bounces:
        return "soft bounce"
    return Batch([signal_of(event, context, now, route)])


def signal_of(event: MailEvent, context: Context, now: datetime, route: Route) -> Signal:
    person = make_person(name=event.name, email=event.recipient, region=context.region)
    recipient = person.email or event.recipient.strip().lower()
    same = [event.message, recipient]
    if event.act == "clicked":
        same.append(event.link)
    if event.act == "bounced":
        same.append(event.id)
    if event.machine:
        same.append("machine")
    family = event.family
    return Signal(
        id=derive_id(family, event.account, event.type, frame(*same)),
        type=event.type,
        source=context.name,
        route=route,
        occurred_at=event.at,
        received_at=now,
        text=shorten(event.diagnostic, LONGEST_TEXT) if event.act == "bounced" else event.link,
        url=event.url,
        reply="" if event.act == "bounced" else reply_to(person),
        person=person,
        data=_data(event),
        thread=f"mail:{event.rfc_id}" if event.rfc_id else f"{family}:{event.account}:{event.message}",
        repeat="" if event.act == "bounced" else event.id,
        **_title(event),
    )


def _data(event: MailEvent) -> dict[str, Any]:
    said = {
        "message_id": event.rfc_id or event.message,
        "service_message_id": event.message if event.rfc_id and event.rfc_id != event.message else "",
        "subject": event.subject,
        "link": event.link,
        "tags": list(event.tags),
        "campaign": event.campaign,
        "machine": event.machine,
        "kind": event.bounce,
        "code": event.code,
        "status": event.status,
        "diagnostic": event.diagnostic,
    }
    return {name: value for name, value in {**event.data, **said}.items() if value not in ("", None, [], False, {})}


def _title(event: MailEvent) -> dict[str, Any]:
    """By the subject, else what the sender called the email; a campaign by both."""
    what = event.subject or event.campaign or next(iter(event.tags), "")
    if event.type.startswith("campaign.") and event.campaign not in ("", what):
        what = f"{what} ({event.campaign})"
    what = one_line(what)[:LONGEST_TITLE]
    if event.act == "bounced":
        return titled("mail.not_delivered", subject=what) if what else titled(f"{BOUNCED}.bare")
    if event.act == "clicked":
        link = one_line(event.link)[:LONGEST_TITLE] or "…"
        return titled(CLICKED, subject=what, link=link) if what else titled(f"{CLICKED}.bare", link=link)
    return titled(OPENED, subject=what) if what else titled(f"{OPENED}.bare")


def event_time(at: datetime) -> str:
    """A time as part of an event's id: the same on every route, in whatever zone it was written."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def text_at(of: Mapping[str, Any], name: str) -> str:
    """The text or number under a name, as text; "" for anything else."""
    value = of.get(name)
    return "" if value is None or isinstance(value, dict | list | bool) else str(value).strip()
