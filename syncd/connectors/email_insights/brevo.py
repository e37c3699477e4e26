"""`type: brevo`: opens, clicks and bounces of emails that Brevo sent, transactional and marketing, by webhook.

Brevo signs nothing: its webhooks carry a user name and password. Facts: developers.brevo.com,
"Transactional webhooks" and "Marketing webhooks": `id` is the webhook's, not the event's; `date` and `ts` are in the account's
zone, `ts_epoch` (ms) and `ts_event` (s) are not; the first opening comes as `unique_opened` and as `opened`, at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from syncd.connector import Batch, Connector, Context, Reply, Request, SignalSpec, Verifier
from syncd.connectors.email_insights.events import BounceKind, InsightSettings, MailEvent, event_time, taken, text_at
from syncd.connectors.keys import Secrets, secret_texts
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.items import each_item, json_body
from syncd.signals import Route
from syncd.signatures.shared_secret import basic

FAMILY = "brevo"
EVENTS: Mapping[str, tuple[str, bool, BounceKind | None]] = {
    "opened": ("opened", False, None),
    "unique_opened": ("opened", False, None),
    "proxy_open": ("opened", True, None),
    "unique_proxy_open": ("opened", True, None),
    "click": ("clicked", False, None),
    "hard_bounce": ("bounced", False, "hard"),
    "soft_bounce": ("bounced", False, "soft"),
    "invalid_email": ("bounced", False, "hard"),
}
"""`event` -> what happened, whether a machine did it, kind of bounce. A mail that is `blocked` was not sent."""


class BrevoSettings(InsightSettings):
    """Keys of a Brevo source."""

    password: Secrets = Field(
        description="a text of your choice that Brevo's webhooks send (basic authentication); a list while it is being "
        "changed, the new one first"
    )
    username: str = Field("syncd", pattern=r"^[^:]{1,100}$", description="the user name beside it")
    account: str = Field("", description="part of the ids; the same in all sources of one Brevo account")


class Brevo:
    """A WebhookSource."""

    def __init__(self, settings: BrevoSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return basic([(self._settings.username, one) for one in secret_texts(self._settings.password)])

    def parse(self, request: Request) -> Batch:
        """One event, or a list of them if the webhook is batched."""
        body = json_body(request)

        def make(event: Any, where: str) -> Batch | str:
            read = read_event(event, self._settings.account, where)
            if isinstance(read, str):
                return read
            return taken(read, self._settings, self._context, request.received_at, Route.WEBHOOK)

        return each_item(request, body if isinstance(body, list) and body else [body], make)


def read_event(event: Any, account: str, where: str) -> MailEvent | str:
    """What Brevo tells, or why it is dropped. Raises Malformed."""
    name = text_at(event, "event").lower() if isinstance(event, Mapping) else ""
    if not name:
        raise Malformed(f"{where}: not an event of Brevo")
    known = EVENTS.get(name)
    if known is None:
        return f"event {name[:40]}"
    act, machine, bounce = known
    at = time_or_none(event.get("ts_epoch")) or time_or_none(event.get("ts_event"))
    email, rfc_id, campaign = (
        text_at(event, "email"),
        text_at(event, "message-id").strip("<>"),
        text_at(event, "camp_id"),
    )
    message = rfc_id or campaign
    if at is None or not email or not message:
        raise Malformed(f"{where}: an event {name} without email, message-id or camp_id, and ts_epoch or ts_event")
    tags = event.get("tags")
    return MailEvent(
        family=FAMILY,
        account=account,
        type=f"{'campaign' if campaign else 'email'}.{act}",
        id=event_time(at.replace(microsecond=0)),  # `ts_event` has no fractions
        message=message,
        recipient=email,
        at=at,
        rfc_id=rfc_id,
        subject=text_at(event, "subject"),
        link=text_at(event, "link") if act == "clicked" else "",
        tags=tuple(str(one) for one in tags if one) if isinstance(tags, list) else (),
        campaign=text_at(event, "campaign name"),
        machine=machine,
        bounce=bounce,
        code=name if act == "bounced" else "",
        diagnostic=text_at(event, "reason") if act == "bounced" else "",
    )


CONNECTOR = Connector(
    name=FAMILY,
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by Brevo",
    settings=BrevoSettings,
    build=Brevo,
    signals=tuple(
        SignalSpec(f"{channel}.{act}", f"webhook: the email and its recipient{more}", backfill=False)
        for channel in ("email", "campaign")
        for act, more in (
            ("opened", "; opens are counted"),
            ("clicked", ", and the link; clicks are counted"),
            ("bounced", ", and the time of the bounce"),
        )
    ),
)
