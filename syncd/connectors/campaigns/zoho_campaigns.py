"""`type: zoho_campaigns`: opens, clicks and bounces of Zoho Campaigns.

Newsletters have no webhooks: each poll reads reports of the campaigns that were sent lately, those that were read longest ago
first, and of older campaigns once an hour, so that Zoho never locks the API. The Email API has webhooks and reports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from pydantic import AfterValidator, Field, SecretStr

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Ability, Batch, Connector, Context, Prompt, Reply, Request, SignalSpec, Verifier
from syncd.connectors.accounts.zoho import DATA_CENTRES, DataCentreName, ZohoAuth, bearer, sign_in_of
from syncd.connectors.campaigns.zoho_campaigns_api import CampaignsApi, EmailApi, sent_at
from syncd.connectors.campaigns.zoho_campaigns_rows import ACTIONS, FAMILY, Row, mark, read_event, read_row, rows_of
from syncd.connectors.email_insights.events import InsightSettings, MailEvent, taken
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.times import time_or_none
from syncd.durations import Duration, format_duration
from syncd.errors import Malformed, RateLimited
from syncd.items import each_item, each_row, json_body, kept_row
from syncd.signals import Route
from syncd.signatures.shared_secret import basic
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, newest_first, progress, unix_ms

LAG = timedelta(hours=1)
"""So late may an event show in a report (not documented); times are of minutes."""
YOUNG = timedelta(days=2)
SELDOM = timedelta(hours=1)
"""Campaigns older than YOUNG are read so often."""
SCOPES = {"ZohoCampaigns.campaign.READ": "to read campaigns and what their recipients did"}
KINDS: Mapping[str, str] = {"open": "email_open", "click": "email_click", "bounce": "bounce"}
"""Event report of the Email API -> the action by which its webhook names the event."""
_NO_HOOKS = "password: is not set; with it webhooks of the Email API are accepted"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is not a time zone name such as Asia/Ho_Chi_Minh") from None
    return name


class ZohoCampaignsSettings(InsightSettings):
    """Keys of a Zoho Campaigns source."""

    auth: ZohoAuth = Field(description="a client of api-console.zoho.com")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        description="time zone of the Zoho Campaigns account, in which its reports write times"
    )
    data_center: DataCentreName = Field("us", description="where the account's data is: the end of its Zoho address")
    watch: Duration = Field(
        timedelta(days=30), gt=timedelta(0), description="how long a campaign is watched after it was sent"
    )
    password: Annotated[Secrets | None, Prompt()] = Field(
        None,
        description="a text of your choice that webhooks of the Email API send; a list while it is being changed, the new one "
        "first; without it: no webhooks",
    )
    username: str = Field("syncd", pattern=r"^[^:]{1,100}$", description="the user name beside it")
    email_api_key: SecretStr | None = Field(None, description="API key of the Email API, to read its event reports too")
    emails_as: Literal["email", "campaign"] = Field(
        "email", description="whether mails of the Email API are email.* or campaign.* signals"
    )
    base_url: BaseUrl | None = Field(None, description="the address of Zoho Campaigns instead of the data centre's")
    accounts_url: BaseUrl | None = Field(None, description="the sign-in address instead of the data centre's")


class ReportCursors(msgspec.Struct, frozen=True):
    """A cursor for each report (a campaign and what was done), and when each campaign was read last."""

    since: datetime
    reports: dict[str, TimeCursor] = {}
    read: dict[str, datetime] = {}

    def of(self, report: str) -> TimeCursor:
        return self.reports.get(report) or TimeCursor(self.since)

    def moved(self, report: str, cursor: TimeCursor) -> ReportCursors:
        return msgspec.structs.replace(self, reports={**self.reports, report: cursor})

    def done(self, campaign: str, at: datetime) -> ReportCursors:
        return msgspec.structs.replace(self, read={**self.read, campaign: at})

    def among(self, campaigns: set[str]) -> ReportCursors:
        """Without the campaigns that are not watched any more."""
        reports = {name: one for name, one in self.reports.items() if name.partition("/")[0] in campaigns | {""}}
        return ReportCursors(self.since, reports, {name: at for name, at in self.read.items() if name in campaigns})


read_cursors = msgspec.json.Decoder(ReportCursors).decode


def due(campaigns: list[Row], cursors: ReportCursors, now: datetime) -> list[Row]:
    """The campaigns to read now, those first that were read longest ago: a poll that ends early leaves none behind for good."""
    never = datetime.fromtimestamp(0, now.tzinfo)

    def read(campaign: Row) -> datetime:
        return cursors.read.get(str(campaign["campaign_key"]), never)

    def is_young(campaign: Row) -> bool:
        at = sent_at(campaign)
        return at is None or now - at < YOUNG

    return sorted((one for one in campaigns if is_young(one) or now - read(one) >= SELDOM), key=read)


class ZohoCampaigns:
    """A PollingSource, Reparsing and Backfillable."""

    def __init__(self, settings: ZohoCampaignsSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._zone = ZoneInfo(settings.timezone)
        centre = DATA_CENTRES[settings.data_center]
        self._accounts = settings.accounts_url or centre.accounts
        base_url, account = settings.base_url or centre.app("campaigns"), settings.auth.client_id
        self._api = CampaignsApi(
            base_url, bearer(context, self._accounts, settings.auth, kind=FAMILY), account, context
        )
        key = settings.email_api_key
        self._emails = EmailApi(base_url, key.get_secret_value(), account, context) if key is not None else None

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre = DATA_CENTRES[self._settings.data_center]
        return sign_in_of(self._accounts, centre, self._settings.auth, SCOPES, kind=FAMILY, name=self._context.name)

    def start(self, now: datetime) -> bytes:
        return encode(ReportCursors(_minute(now)))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        before = read_cursors(state)
        watched = self._watched(now - self._settings.watch)
        cursors = before.among({str(one["campaign_key"]) for one in watched})
        for campaign in due(watched, cursors, now):
            try:
                for batch, after in self._campaign(campaign, cursors, Route.POLL, LAG, None):
                    cursors = after
                    yield batch
            except RateLimited:  # the next poll goes on with the campaigns after this one
                yield Batch(state=encode(cursors))
                raise
            cursors = cursors.done(str(campaign["campaign_key"]), now)
        if cursors != before:
            yield Batch(state=encode(cursors))
        yield from self._mails(cursors, Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Newsletters by the minute, as their reports have it."""
        cursors = read_cursors(state) if state is not None else ReportCursors(_minute(since))
        for campaign in self._watched(since - self._settings.watch):
            for batch, after in self._campaign(campaign, cursors, Route.BACKFILL, timedelta(0), _minute(until)):
                cursors = after
                yield batch
        yield from self._mails(cursors, Route.BACKFILL, timedelta(0), (since, until))

    def reparse(self, request: Request) -> Batch:
        """A row from quarantine: of a report, or of the Email API as its webhook has it."""
        row = json_body(request)
        if isinstance(row, Mapping) and "data" in row:
            return self._sent(row, request, Route.POLL)
        made = self._taken(read_row(row, self._zone, "the row"), request.received_at, Route.POLL)
        return Batch(dropped={made: 1}) if isinstance(made, str) else made

    def _watched(self, since: datetime) -> list[Row]:
        """The campaigns that were sent since, the versions of A/B tests as campaigns of their own."""
        found = self._api.campaigns(since)
        tests = [one for one in found if "ab" in str(one.get("campaigntype") or one.get("campaign_type") or "").lower()]
        keys = {str(one["campaign_key"]): self._api.tests_of(str(one["campaign_key"])) for one in tests}
        more = [{**one, "campaign_key": key} for one in tests for key in keys[str(one["campaign_key"])]]
        return [*found, *more]

    def _campaign(
        self, campaign: Row, cursors: ReportCursors, route: Route, lag: timedelta, until: datetime | None
    ) -> Iterator[tuple[Batch, ReportCursors]]:
        """What was done in [since, until) with one campaign."""
        now, key = self._context.clock(), str(campaign["campaign_key"])
        names = ("campaign_key", "campaign_name", "subject", "campaign_preview")
        about = {name: campaign.get(name) for name in names}

        def of(row: Row) -> ItemMark | None:
            return mark(row, self._zone)

        def make(row: Row, where: str) -> Batch | str:
            made = of(row)
            if made is not None and until is not None and made.ms >= unix_ms(until):
                return Batch()
            return self._taken(read_row(row, self._zone, where), now, route)

        for action in ACTIONS:
            name = f"{key}/{action}"
            cursor = cursors.of(name)
            listed = (list(rows_of(about, action, rows)) for rows in self._api.recipients(key, action))
            for rows, after, _ in progress(newest_first(_from(listed, cursor, of), cursor, of, lag=lag), cursor):
                cursors = cursors.moved(name, after)
                kept = each_row(rows, make, lambda row: kept_row("/report", row, now), state=encode(cursors))
                yield kept, cursors

    def _mails(
        self, cursors: ReportCursors, route: Route, lag: timedelta, within: tuple[datetime, datetime] | None
    ) -> Iterator[Batch]:
        """The event reports of the Email API, if there is a key for it."""
        now, api = self._context.clock(), self._emails
        for kind, action in KINDS.items() if api is not None else ():
            assert api is not None
            cursor = cursors.of(f"/{kind}")
            until = within[1] if within is not None else now + SELDOM

            def make(row: Row, where: str, action: str = action) -> Batch | str:
                at = time_or_none(row.get("action_time"))
                if within is not None and at is not None and not within[0] <= at < within[1]:
                    return Batch()
                return self._taken(read_event(row, action, self._settings.emails_as, where), now, route)

            def keep(row: Row, action: str = action) -> Request:
                return kept_row("/event", {"action": action, "data": [row]}, now)

            pages = _from(api.events(kind, cursor.since, until), cursor, _mail_mark)
            for rows, after, _ in progress(newest_first(pages, cursor, _mail_mark, lag=lag), cursor):
                cursors = cursors.moved(f"/{kind}", after)
                yield each_row(rows, make, keep, state=encode(cursors))

    def _taken(self, read: MailEvent | str, now: datetime, route: Route) -> Batch | str:
        return read if isinstance(read, str) else taken(read, self._settings, self._context, now, route)

    def _sent(self, body: Any, request: Request, route: Route) -> Batch:
        """The events of one call of the Email API."""
        action = body.get("action") or body.get("actionType") if isinstance(body, Mapping) else None
        rows = body.get("data") if isinstance(body, Mapping) else None
        if not isinstance(action, str) or not isinstance(rows, list) or not rows:
            raise Malformed("the body is not a webhook of Zoho Campaigns: there is no action, or no list data")

        def make(row: Any, where: str) -> Batch | str:
            return self._taken(read_event(row, action, self._settings.emails_as, where), request.received_at, route)

        def alone(request: Request, rows: Any) -> list[Request]:
            bodies = [json.dumps({**body, "data": [row]}).encode() for row in rows]
            return [replace(request, body=one) for one in bodies]

        return each_item(request, rows, make, alone=alone)

    def check_online(self) -> Iterator[Finding]:
        """The sign-in, the campaigns that are watched, and the key of the Email API: two calls."""
        now, watch = self._context.clock(), format_duration(self._settings.watch)
        watched = self._api.campaigns(now - self._settings.watch)
        yield Finding(Level.OK, "sign-in", f"campaigns sent within {watch}, which are watched: {len(watched)}")
        if self._emails is not None:
            next(self._emails.events("open", now - timedelta(hours=1), now), None)
            yield Finding(Level.OK, "Email API", "event reports may be read")


class ZohoCampaignsWithWebhooks(ZohoCampaigns):
    """A WebhookSource too, for the Email API."""

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return basic([(self._settings.username, one) for one in secret_texts(self._settings.password)])

    def parse(self, request: Request) -> Batch:
        return self._sent(json_body(request), request, Route.WEBHOOK)


def _minute(at: datetime) -> datetime:
    """Times of reports are of minutes."""
    return at.replace(second=0, microsecond=0)


def _from(pages: Iterable[list[Row]], cursor: TimeCursor, of: Callable[[Row], ItemMark | None]) -> Iterator[list[Row]]:
    """The pages of a list that is in no known order, without what is before the cursor."""
    least = unix_ms(cursor.since)
    for page in pages:
        yield [row for row in page if (own := of(row)) is None or own.ms >= least]


def _mail_mark(row: Mapping[str, Any]) -> ItemMark | None:
    same = ("transmission_id", "contact_id", "contact_email", "click_url")
    return mark_of("/".join(str(row.get(name) or "") for name in same), time_or_none(row.get("action_time")))


def _build(settings: ZohoCampaignsSettings, context: Context) -> ZohoCampaigns | ZohoCampaignsWithWebhooks:
    return (ZohoCampaigns if settings.password is None else ZohoCampaignsWithWebhooks)(settings, context)


def _specs() -> Iterator[SignalSpec]:
    how = "poll and backfill: the campaign and its recipient"
    yield SignalSpec("campaign.opened", f"{how}; opens are counted", backfill=True)
    yield SignalSpec("campaign.clicked", f"{how}, and the link; clicks are counted", backfill=True)
    yield SignalSpec("campaign.bounced", f"{how}, and the time of the bounce", backfill=True)
    mails = "webhook, poll and backfill: the transmission and its recipient"
    yield SignalSpec("email.opened", f"{mails}; opens are counted", backfill=True)
    yield SignalSpec("email.clicked", f"{mails}, and the link; clicks are counted", backfill=True)
    yield SignalSpec("email.bounced", f"{mails}, and the time of the bounce", backfill=True)


CONNECTOR = Connector(
    name=FAMILY,
    contract=2,
    role="source",
    summary="opens, clicks and bounces of Zoho Campaigns: newsletters, and mails of its Email API",
    settings=ZohoCampaignsSettings,
    build=_build,
    signals=tuple(_specs()),
    unable=lambda settings: {} if settings.password is not None else {Ability.WEBHOOK: _NO_HOOKS},
    secrets_note=f"the refresh token's scope: {', '.join(SCOPES)}",
)
