"""`type: ses`: opens, clicks and bounces of emails that Amazon SES sent, which an SNS topic posts here.

SNS first asks to confirm the subscription, by reading an address that it sends; that is done as a hint. A certificate that is not
fetched yet is a 503, after which SNS posts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from syncd.connector import Batch, Connector, Context, Hint, Reply, Request, Verifier
from syncd.connectors.email_insights.events import InsightSettings, specs, taken
from syncd.connectors.email_insights.ses_events import read_message
from syncd.connectors.email_insights.sns import (
    CONFIRMATION,
    NOTIFICATION,
    SnsCertificates,
    check_arn,
    envelope_of,
    get,
    is_of_topic,
    sns_verifier,
)
from syncd.connectors.keys import BaseUrl
from syncd.errors import Malformed
from syncd.http.json_text import parse
from syncd.items import each_item
from syncd.signals import Route, Signal

ON_CREATION = "Successfully validated SNS topic"
"""How the text begins that SES sends when event publishing to a topic is switched on."""
_ARN = Annotated[str, AfterValidator(check_arn)]


class SesSettings(InsightSettings):
    """Keys of an Amazon SES source."""

    topic_arn: _ARN | list[_ARN] = Field(description="ARN of the SNS topic that SES publishes to; a list for several")
    base_url: BaseUrl | None = Field(
        None, description="asked for certificates and confirmations in place of SNS of the topic's region: a stand-in"
    )

    @property
    def topics(self) -> list[str]:
        return self.topic_arn if isinstance(self.topic_arn, list) else [self.topic_arn]


class Ses:
    """A WebhookSource, KeyFetchingSource and HintSource (the confirmation of a subscription)."""

    def __init__(self, settings: SesSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._certificates = SnsCertificates(settings.base_url or "")

    def handshake(self, request: Request) -> Reply | None:
        return None

    def verifier(self) -> Verifier:
        return sns_verifier(self._settings.topics, self._certificates)

    def fetch_keys(self, now: datetime) -> Sequence[str]:
        return self._certificates.fetch(now)

    def parse(self, request: Request) -> Batch:
        sent = envelope_of(request)
        if sent["Type"] == CONFIRMATION:
            arn = str(sent.get("TopicArn") or "")
            return Batch(hints=[Hint(key=f"confirm {arn}", data={"arn": arn, "url": sent.get("SubscribeURL")})])
        if sent["Type"] != NOTIFICATION:
            return Batch(dropped={f"event {sent['Type'][:40]}": 1})
        return each_item(
            request, [sent.get("Message")], lambda text, where: self._made(text, where, request.received_at)
        )

    def fetch(self, hint: Hint, now: datetime) -> Batch:
        """Confirms the subscription. An address that is not SNS' own is not asked."""
        if not is_of_topic(hint.data.get("url"), str(hint.data.get("arn"))):
            return Batch(dropped={"confirmation with another address": 1})
        get(str(hint.data["url"]), self._settings.base_url or "")
        return Batch()

    def _made(self, text: Any, where: str, now: datetime) -> Batch | str:
        if not isinstance(text, str):
            raise Malformed(f"{where}: Message is not a text")
        if text.startswith(ON_CREATION):
            return "test message"
        try:
            message = parse(text.encode("utf-8", "surrogatepass")).value
        except ValueError as error:
            raise Malformed(f"{where}: Message is not JSON: {error}") from None
        read = read_message(message, where)
        if isinstance(read, str):
            return read
        signals: list[Signal] = []
        dropped: dict[str, int] = {}
        for event in read:
            made = taken(event, self._settings, self._context, now, Route.WEBHOOK)
            if isinstance(made, str):
                dropped[made] = dropped.get(made, 0) + 1
            else:
                signals += made.signals
        return Batch(signals, dropped=dropped)


CONNECTOR = Connector(
    name="ses",
    contract=2,
    role="source",
    summary="opens, clicks and bounces of emails sent by Amazon SES, through SNS",
    settings=SesSettings,
    build=Ses,
    signals=specs("webhook"),
)
