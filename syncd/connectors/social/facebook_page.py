"""`type: facebook_page`: posts, comments, likes and messages of people on a Facebook page.

Meta's webhooks carry the events themselves. Ids: see `syncd.connectors.social.page_events`.
"""

from __future__ import annotations

from pydantic import Field

from syncd.connector import Batch, Connector, Context, Request, SignalSpec
from syncd.connectors.social.meta_hooks import MetaEvent, MetaSettings, MetaWebhooks
from syncd.connectors.social.page_events import read_event, signal_of
from syncd.signals import Route


class FacebookPageSettings(MetaSettings):
    """Keys of a Facebook page."""

    page_id: str = Field(pattern=r"^\d{1,25}$", description="the page's id, under About > Page transparency")


class FacebookPage(MetaWebhooks):
    """A WebhookSource and SharedEndpointSource."""

    def __init__(self, settings: FacebookPageSettings, context: Context) -> None:
        super().__init__(settings, "page", settings.page_id)
        self._page = settings.page_id
        self._context = context

    def parse(self, request: Request) -> Batch:
        def make(event: MetaEvent, where: str) -> Batch:
            read = read_event(event, self._page, request.received_at, where)
            if isinstance(read, str):
                return Batch(dropped={read: 1})
            return Batch([signal_of(read, self._page, self._context, request.received_at, Route.WEBHOOK)])

        return self.each_event(request, make)


CONNECTOR = Connector(
    name="facebook_page",
    summary="people on a Facebook page: posts, comments, likes and Messenger messages",
    settings=FacebookPageSettings,
    build=FacebookPage,
    signals=(
        SignalSpec("facebook.posted", "webhook: post id", backfill=False),
        SignalSpec("facebook.commented", "webhook: comment id", backfill=False),
        SignalSpec("facebook.liked", "webhook: id of the post or comment, and of the person", backfill=False),
        SignalSpec("facebook.messaged", "webhook: mid", backfill=False),
    ),
    contract=2,
    role="source",
)
