"""`type: facebook_page`: posts, comments, likes and messages of people on a Facebook page.

Meta's webhooks carry the events; with a page token, what they lack (names, texts, permalinks) is read by hint, and posts and
comments by poll and backfill. Ids: see `syncd.connectors.social.page_events`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Self

import msgspec
from pydantic import Field, SecretStr, model_validator

from syncd.capabilities import Finding, Level, Subscribed, Subscription
from syncd.connector import Ability, Batch, Connector, Context, Hint, Prompt, Request, SignalSpec
from syncd.connectors.keys import BaseUrl
from syncd.connectors.social.fields import id_of, text_of
from syncd.connectors.social.meta_api import AppHooks, GraphApi
from syncd.connectors.social.meta_hooks import MetaEvent, MetaSettings, MetaWebhooks
from syncd.connectors.social.page_events import PageEvent, completed, read_event, read_row, signal_of
from syncd.connectors.social.page_history import PageHistory, PageRow, mark
from syncd.durations import Duration
from syncd.errors import AuthExpired, Misconfigured
from syncd.items import each_row, kept_row
from syncd.signals import Route
from syncd.time_cursor import TimeCursor, encode, newest_first, progress, read_cursor

FIELDS = ("feed", "mention", "messages")
"""What a page is subscribed to."""
LAG = timedelta(minutes=10)
"""A post or comment may show in its list so long after its time."""
STORY = "message,from,permalink_url,created_time"
PROFILE = "name,first_name,last_name"
_WHY = "page_token: is not set, so only webhooks are read; set page_token and app_id to use the Graph API"
_NEED_API = (Ability.POLL, Ability.FETCH, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK)


class FacebookPageSettings(MetaSettings):
    """Keys of a Facebook page."""

    page_id: str = Field(pattern=r"^\d{1,25}$", description="the page's id, under About > Page transparency")
    page_token: Annotated[SecretStr | None, Prompt()] = Field(
        None, description="page access token, for names, links, polls and backfills; without it: webhooks alone"
    )
    app_id: Annotated[str, Prompt()] = Field("", description="the app's id; needed with page_token")
    look_back: Duration = Field(timedelta(days=14), description="polls read the comments on posts of this time")
    past_messages: bool = Field(False, description="backfills read Messenger conversations too")
    api_version: str = Field("v25.0", pattern=r"^v\d+\.\d+$", description="version of the Graph API")
    base_url: BaseUrl = Field("https://graph.facebook.com", description="the Graph API")

    @model_validator(mode="after")
    def _app_is_named(self) -> Self:
        if self.page_token is not None and not self.app_id:
            raise ValueError("page_token needs app_id, which is beside the app secret")
        return self


class FacebookPageWebhooksOnly(MetaWebhooks):
    """A WebhookSource and SharedEndpointSource: signals from what webhooks carry."""

    def __init__(self, settings: FacebookPageSettings, context: Context) -> None:
        super().__init__(settings, "page", settings.page_id)
        self._page = settings.page_id
        self._context = context

    def parse(self, request: Request) -> Batch:
        def make(event: MetaEvent, where: str) -> Batch:
            read = read_event(event, self._page, request.received_at, where)
            return Batch(dropped={read: 1}) if isinstance(read, str) else self._announced(read, request.received_at)

        return self.each_event(request, make)

    def _announced(self, event: PageEvent, at: datetime) -> Batch:
        return self._made(event, at, Route.WEBHOOK)

    def _made(self, event: PageEvent, at: datetime, route: Route) -> Batch:
        return Batch([signal_of(event, self._page, self._context, at, route)])


class FacebookPage(FacebookPageWebhooksOnly):
    """Also a HintSource, PollingSource, Backfillable, Subscribable and Reparsing."""

    def __init__(self, settings: FacebookPageSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.page_token is not None
        token, secret = settings.page_token.get_secret_value(), self._secrets[0]
        where = (settings.base_url, settings.api_version)
        self._api = GraphApi(*where, token, secret, context.clock)
        app = GraphApi(*where, f"{settings.app_id}|{secret}", secret, context.clock)
        self._app_id = settings.app_id
        self._hooks = AppHooks(app, settings.app_id, "page")
        self._history = PageHistory(self._api, self._page, settings.look_back)
        self._past_messages = settings.past_messages

    # ---- what webhooks lack

    def _announced(self, event: PageEvent, at: datetime) -> Batch:
        if event.kind == "liked" or (event.name and event.text):
            return super()._announced(event, at)
        return Batch(hints=[Hint(key=f"{event.kind}:{event.id}", data=msgspec.to_builtins(event))])

    def fetch(self, hint: Hint, now: datetime) -> Batch:
        """The event with its author's name and its link. What Meta does not show (privacy, no permission) is left out."""
        event = msgspec.convert(hint.data, PageEvent)
        path, fields = (event.by, PROFILE) if event.kind == "messaged" else (event.id, STORY)
        try:
            row = self._api.one(f"/{path}", fields=fields) or {}
        except (Misconfigured, AuthExpired):  # polls and `check --online` report it; the event does not wait for it
            row = {}
        event = completed(event, row)
        return Batch(dropped={"own": 1}) if event.by == self._page else self._made(event, now, Route.WEBHOOK)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(self._api.vendor_now(f"/{self._page}")))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        cursor = read_cursor(state)
        return self._read(self._history.stories(cursor.since), cursor, Route.POLL, now, LAG)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursor = read_cursor(state) if state is not None else TimeCursor(since)
        rows = list(self._history.stories(cursor.since))
        if self._past_messages:
            rows += self._history.messages(cursor.since)
        return self._read(
            (row for row in rows if row.before(until)), cursor, Route.BACKFILL, self._context.clock(), timedelta(0)
        )

    def _read(
        self, rows: Iterator[PageRow], cursor: TimeCursor, route: Route, now: datetime, lag: timedelta
    ) -> Iterator[Batch]:
        for found, after, _ in progress(newest_first([list(rows)], cursor, mark, lag=lag), cursor):
            yield self._batch(found, route, now, encode(after))

    def _batch(self, rows: list[PageRow], route: Route, now: datetime, state: bytes) -> Batch:
        def make(row: PageRow, where: str) -> Batch:
            return self._of_row(row, route, now)

        return each_row(rows, make, lambda row: kept_row(f"/{row.kind}", row.fields, now), state=state)

    def _of_row(self, row: PageRow, route: Route, now: datetime) -> Batch:
        read = read_row(row.kind, row.fields, self._page, row.kind)
        return Batch(dropped={read: 1}) if isinstance(read, str) else self._made(read, now, route)

    def reparse(self, request: Request) -> Batch:
        """A webhook's body, or a row of a list, from quarantine."""
        if request.method != "GET":
            return self.parse(request)
        return self._of_row(PageRow(request.url.strip("/"), json.loads(request.body)), Route.POLL, request.received_at)

    # ---- subscription

    def subscriptions(self) -> list[Subscription]:
        rows = self._api.rows(f"/{self._page}/subscribed_apps")
        return self._hooks.subscriptions(rows, self._app_id, self._context.webhook_url)

    def subscribe(self, *, force: bool = False) -> Subscribed:
        self._hooks.point(self._context.webhook_url, self._verify_token, FIELDS, force=force)
        self._api.call("POST", f"/{self._page}/subscribed_apps", subscribed_fields=",".join(FIELDS))
        return Subscribed(there=[one for one in self.subscriptions() if one.ours])

    def unsubscribe(self, id: str) -> None:
        """Of our app alone; the callback URL stays, for the app's other pages."""
        if id == self._app_id:
            self._api.call("DELETE", f"/{self._page}/subscribed_apps")

    def check_online(self) -> Iterator[Finding]:
        """The token, whose it is, the right to read, and the subscription: four calls."""
        page = self._api.one("/me", fields="id,name") or {}
        if id_of(page.get("id")) != self._page:
            text = f"page_token is of {text_of(page.get('name')) or 'another account'}, not of page {self._page}"
            yield Finding(Level.FAULT, "sign-in", text, "set the token that me/accounts shows for this page")
            return
        yield Finding(Level.OK, "sign-in", f"page {text_of(page.get('name'))}")
        self._history.try_reading()
        yield Finding(Level.OK, "posts", "posts and comments may be read")
        ours = [one for one in self.subscriptions() if one.ours]
        missing = [name for name in FIELDS if not any(name in one.events for one in ours)]
        if missing:
            text = f"the page is not subscribed to {', '.join(missing)} at this address"
            yield Finding(Level.WARNING, "webhooks", text, f"syncd webhooks register {self._context.name}")
        else:
            yield Finding(Level.OK, "webhooks", "the page is subscribed")


def _build(settings: FacebookPageSettings, context: Context) -> FacebookPage | FacebookPageWebhooksOnly:
    made = FacebookPage if settings.page_token is not None else FacebookPageWebhooksOnly
    return made(settings, context)


_KEYS = {
    "posted": ("webhook, poll and backfill: post id", True),
    "commented": ("webhook, poll and backfill: comment id", True),
    "liked": ("webhook: id of the post or comment, and of the person", False),
    "messaged": ("webhook: mid; backfill: id of the message", True),
}
CONNECTOR = Connector(
    name="facebook_page",
    summary="people on a Facebook page: posts, comments, likes and Messenger messages",
    settings=FacebookPageSettings,
    build=_build,
    signals=tuple(SignalSpec(f"facebook.{kind}", key, backfill=past) for kind, (key, past) in _KEYS.items()),
    contract=2,
    role="source",
    unable=lambda settings: {} if settings.page_token is not None else dict.fromkeys(_NEED_API, _WHY),
)
