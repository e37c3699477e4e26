"""`type: mailchimp`: opens, clicks and bounces of Mailchimp's campaigns, by poll and backfill.

Mailchimp has no webhooks for opens and clicks: each poll reads the email activity of the campaigns that were sent lately.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from syncd.capabilities import Finding, Level
from syncd.connector import Batch, Connector, ConnectorSettings, Context, Request, SignalSpec
from syncd.connectors.campaigns.mailchimp_activity import BOUNCED, CLICKED, OPENED, Row, did_at, mark, read_row, rows_of
from syncd.connectors.campaigns.mailchimp_api import MailchimpApi, host_of, page_of_campaign
from syncd.connectors.email_insights.events import signal_of
from syncd.connectors.keys import BaseUrl
from syncd.durations import Duration, format_duration
from syncd.items import each_row, json_body, kept_row
from syncd.signals import Route
from syncd.time_cursor import TimeCursors, encode, newest_first, progress, read_cursors

LAG = timedelta(hours=1)
"""An activity may show in a report so late (not documented)."""
_HOW = "poll and backfill: the campaign and its recipient"


class MailchimpSettings(ConnectorSettings):
    """Keys of a Mailchimp source."""

    base_url: BaseUrl | None = Field(None, description="Mailchimp's API; without it: by the end of the API key")
    api_key: SecretStr = Field(description="API key, whole: its end (`-us3`) says where the account is")
    watch: Duration = Field(
        timedelta(days=30),
        description="how long a campaign is watched after it was sent; each poll makes one call or more for each",
    )
    names: bool = Field(
        False, description="also read each person's name from the audience: one more call for each person"
    )
    soft_bounces: bool = Field(
        True, description="also take soft bounces: the email was not delivered, but the address may be right"
    )

    @field_validator("api_key")
    @classmethod
    def _names_a_data_centre(cls, key: SecretStr, info: ValidationInfo) -> SecretStr:
        if "base_url" in info.data and info.data["base_url"] is None and not host_of(key.get_secret_value()):
            raise ValueError("it does not end in a data centre such as -us3; copy the whole key, or set base_url")
        return key

    @field_validator("watch")
    @classmethod
    def _is_a_time(cls, watch: timedelta) -> timedelta:
        if watch <= timedelta(0):
            raise ValueError("a campaign must be watched for longer than 0; 30d is usual")
        return watch


class Mailchimp:
    """A PollingSource, Backfillable and Reparsing."""

    def __init__(self, settings: MailchimpSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._key = settings.api_key.get_secret_value().strip()
        self._api = MailchimpApi(settings.base_url or host_of(self._key), self._key, context)

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursors(now.replace(microsecond=0)))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        campaigns = self._api.campaigns(now - self._settings.watch)
        yield from self._read(read_cursors(state), campaigns, Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursors = read_cursors(state) if state is not None else TimeCursors(since)
        campaigns = self._api.campaigns(cursors.since - self._settings.watch, until)
        yield from self._read(cursors, campaigns, Route.BACKFILL, timedelta(0), until)

    def reparse(self, request: Request) -> Batch:
        """A row from quarantine."""
        made = self._made(json_body(request), "the activity", request.received_at, Route.POLL)
        return Batch(dropped={made: 1}) if isinstance(made, str) else made

    def _read(
        self,
        cursors: TimeCursors,
        campaigns: list[dict[str, Any]],
        route: Route,
        lag: timedelta,
        until: datetime | None,
    ) -> Iterator[Batch]:
        """The campaigns one after the other: Mailchimp limits how many calls are under way, not how many there are."""

        def make(row: Row, where: str) -> Batch | str:
            return self._made(row, where, self._context.clock(), route)

        watched = [str(campaign["id"]) for campaign in campaigns]
        for id_, campaign in zip(watched, campaigns, strict=True):
            cursor = cursors.of(id_)
            pages = self._pages(id_, campaign, cursor.since, until)
            for rows, after, _ in progress(newest_first(pages, cursor, mark, lag=lag), cursor):
                cursors = cursors.moved(id_, after, watched)
                yield each_row(rows, make, self._kept, state=encode(cursors), name="activity")

    def _pages(
        self, id_: str, campaign: Mapping[str, Any], since: datetime, until: datetime | None
    ) -> Iterator[list[Row]]:
        """What was done in [since, until). The reports are ordered by recipient, so all pages are read."""
        for recipients in self._api.activity(id_, since):
            rows = [(row, did_at(row)) for row in rows_of(campaign, recipients)]
            yield [row for row, at in rows if at is None or (at >= since and (until is None or at < until))]

    def _made(self, row: Any, where: str, now: datetime, route: Route) -> Batch | str:
        read = read_row(row, where)
        if isinstance(read, str):
            return read
        if read.bounce == "soft" and not self._settings.soft_bounces:
            return "soft bounce"
        named = self._settings.names and row.get("list_id") and row.get("email_id")
        name = self._api.name(str(row["list_id"]), str(row["email_id"])) if named else ""
        url = page_of_campaign(self._key, row.get("web_id"))
        return Batch([signal_of(msgspec.structs.replace(read, name=name, url=url), self._context, now, route)])

    def _kept(self, row: Row) -> Request:
        return kept_row(f"/3.0/reports/{row['campaign_id']}/email-activity", row, self._context.clock())

    def check_online(self) -> Iterator[Finding]:
        """The API key, and whether any campaign is watched: one call."""
        watch = format_duration(self._settings.watch)
        campaigns = self._api.campaigns(self._context.clock() - self._settings.watch)
        yield Finding(Level.OK, "sign-in", f"campaigns sent within {watch}, which are watched: {len(campaigns)}")


CONNECTOR = Connector(
    name="mailchimp",
    contract=2,
    role="source",
    summary="opens, clicks and bounces of Mailchimp's campaigns",
    settings=MailchimpSettings,
    build=Mailchimp,
    signals=(
        SignalSpec(OPENED, f"{_HOW}; opens are counted", backfill=True),
        SignalSpec(CLICKED, f"{_HOW}, and the link; clicks are counted", backfill=True),
        SignalSpec(BOUNCED, f"{_HOW}, and the time of the bounce", backfill=True),
    ),
)
