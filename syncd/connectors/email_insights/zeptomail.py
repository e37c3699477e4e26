"""`type: zeptomail`: opens, clicks and bounces of emails that Zoho ZeptoMail sent, by webhook.

Facts: zoho.com/zeptomail/help, "Webhooks": the samples of soft bounce, hard bounce, open and click; everything is in lists. Zoho
sends only the first open of an email. Not verified: the signature, and the names of a click's fields; each has several here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic import Field

from syncd.connector import Batch, Connector, Context, Reply, Request, Verifier
from syncd.connectors.email_insights.events import (
    BounceKind,
    InsightSettings,
    MailEvent,
    event_time,
    specs,
    taken,
    text_at,
)
from syncd.connectors.keys import PathSecret, Secrets, secret_texts
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.social.fields import inner, rows_of, text_of
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed, NotAuthentic
from syncd.items import each_item, json_body
from syncd.signals import Route
from syncd.signatures.shared_secret import path
from syncd.signatures.verifier import verifier

FAMILY = "zeptomail"
EVENTS: Mapping[str, tuple[str, BounceKind | None]] = {
    "email_open": ("email.opened", None),
    "email_link_click": ("email.clicked", None),
    "softbounce": ("email.bounced", "soft"),
    "hardbounce": ("email.bounced", "hard"),
}
"""`event_name` -> signal type, kind of bounce."""
LINKS = ("clicked_link_url", "clicked_link", "link", "url")
HEADER = "producer-signature"
_STYLE = STYLES["zeptomail"]


class ZeptoMailSettings(InsightSettings):
    """Keys of a ZeptoMail source."""

    path_secret: PathSecret = Field(
        description="a text of 16 characters or more, the last part of the webhook's address"
    )
    key: Secrets | None = Field(
        None,
        description="the webhook's authorization key, with which ZeptoMail signs; then both are required. How it signs is not "
        "verified",
    )
    account: str = Field("", description="part of the ids; the same in all sources of one ZeptoMail account")


class ZeptoEvent(NamedTuple):
    """One event of a body: its name, the email it is about, and what happened."""

    name: str
    message: Mapping[str, Any]
    detail: Mapping[str, Any]


class ZeptoMail:
    """A WebhookSource."""

    def __init__(self, settings: ZeptoMailSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        keys = secret_texts(self._settings.key)
        checks = [path([self._settings.path_secret.get_secret_value()]), *([_signed_by(keys)] if keys else [])]

        def verify(request: Request, now: datetime) -> None:
            for check in checks:
                check(request, now)

        return verify

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(event: ZeptoEvent, where: str) -> Batch | str:
            read = read_event(event, self._settings.account, where)
            if isinstance(read, str):
                return read
            return taken(read, self._settings, self._context, request.received_at, Route.WEBHOOK)

        def alone(request: Request, events: Sequence[ZeptoEvent]) -> list[Request]:
            bodies = [
                {
                    **body,
                    "event_name": [one.name],
                    "event_message": [{**one.message, "event_data": [{"details": [one.detail]}]}],
                }
                for one in events
            ]
            return [replace(request, body=json.dumps(one).encode()) for one in bodies]

        return each_item(request, list(events_of(body)), make, alone=alone)


def events_of(body: Any) -> Iterator[ZeptoEvent]:
    """The events of a body; an email without any has one that cannot be read. Raises Malformed."""
    names = body.get("event_name") if isinstance(body, Mapping) else None
    messages = body.get("event_message") if isinstance(body, Mapping) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not isinstance(messages, list) or not messages:
        raise Malformed("the body is not a webhook of ZeptoMail: there is no event_name, or no list event_message")
    for index, message in enumerate(messages):
        name = text_of(names[index] if len(names) == len(messages) else names[0])
        held = message if isinstance(message, dict) else {}
        details = [detail for data in rows_of(held.get("event_data")) for detail in rows_of(data.get("details"))]
        for detail in details or [{}]:
            yield ZeptoEvent(name, held, detail)


def read_event(event: ZeptoEvent, account: str, where: str) -> MailEvent | str:
    """What ZeptoMail tells, or why it is dropped. Raises Malformed."""
    known = EVENTS.get(event.name)
    if known is None:
        return f"event {event.name[:40]}"
    (type_, kind), about, detail = known, inner(event.message, "email_info"), event.detail
    at, message = time_or_none(detail.get("time")), text_at(event.message, "request_id")
    if at is None or not message:
        raise Malformed(f"{where}: an event {event.name} without request_id, or details without a time")
    to = [inner(one, "email_address") for one in rows_of(about.get("to"))]
    only = to[0] if len(to) == 1 else {}
    bounced = text_at(detail, "bounced_recipient") if kind else ""
    return MailEvent(
        family=FAMILY,
        account=account,
        type=type_,
        id=event_time(at),
        message=message,
        recipient=bounced or text_at(only, "address"),
        name=text_at(only, "name"),
        at=at,
        subject=text_at(about, "subject"),
        link=next((text for name in LINKS if (text := text_at(detail, name))), "") if kind is None else "",
        bounce=kind,
        code=text_at(detail, "reason") if kind else "",
        diagnostic=text_at(detail, "diagnostic_message") if kind else "",
        data={"client_reference": text_at(about, "client_reference")},
    )


def _signed_by(keys: Sequence[str]) -> Verifier:
    """Of the time and the body, or of the body alone: which is not verified. The signature may be URL-encoded."""
    tried = [verifier(style, keys) for style in (_STYLE, replace(_STYLE, signed="{body}"))]

    def verify(request: Request, now: datetime) -> None:
        given = replace(request, headers={**request.headers, HEADER: unquote(request.headers.get(HEADER, ""))})
        *others, last = tried
        for one in others:
            with contextlib.suppress(NotAuthentic):
                one(given, now)
                return
        last(given, now)

    return verify


CONNECTOR = Connector(
    name=FAMILY,
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by Zoho ZeptoMail",
    settings=ZeptoMailSettings,
    build=ZeptoMail,
    signals=specs("webhook"),
)
