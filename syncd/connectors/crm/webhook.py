"""Signals out: each record of the mapping is one POST to a receiver's URL, signed as Standard Webhooks.

A record is the JSON body, by the mapping's own names, or a CloudEvent 1.0. Promise: `webhook-id` and the body's bytes do not
change from one try of a record to the next, so a receiver that ignores an id it has seen gets each record once; a record that
changed after it was sent goes with an id of its own. Nothing is read back: 2xx is all that a receiver says.
Sources: the Standard Webhooks specification; CloudEvents 1.0, HTTP binding, structured mode.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Call,
    Connector,
    ConnectorSettings,
    Context,
    DealPick,
    DestinationDefaults,
    Idempotency,
    Outcome,
    PersonMatch,
    PersonQuery,
    Prompt,
    Usage,
    Write,
    WriteKind,
    Written,
)
from syncd.connectors.keys import Secrets, secret_texts
from syncd.errors import Misconfigured, Rejected, Transient
from syncd.http.client import NOT_PUBLIC, TOO_LARGE, Deadlines, HttpClient, Response, check_base_url
from syncd.http.error_table import ErrorTable, Means, VendorError
from syncd.runtime.known_secrets import learn
from syncd.signatures.shared_secret import unbase64

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
"""Sizes of a signing key, by the specification."""
SPECVERSION = "1.0"
ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype")
"""The context attributes of CloudEvents 1.0; any other field of a record is part of its data."""
NEEDED = ("source", "type")
"""Attributes that the mapping must give; `specversion` and `id` are ours."""
CONTENT_TYPES = {"json": "application/json", "cloudevents": "application/cloudevents+json"}
TEST_PATH = "/webhook-test/"
"""n8n's URL for trying a workflow: it takes one call after a click in the editor."""
SHOWN = 200
"""Characters of a receiver's answer that are shown."""

_REDIRECTS = Means(
    Misconfigured, "the receiver redirects, and a signed body is not sent to another address; set url: to the new one"
)
ERRORS = ErrorTable(
    vendor="",
    codes={},
    read=lambda body: (),
    statuses={
        **dict.fromkeys((301, 302, 303, 307, 308), _REDIRECTS),
        401: Means(Misconfigured, "the receiver refuses us; check url: and secret:"),
        403: Means(Misconfigured, "the receiver refuses us; check url: and secret:"),
        410: Means(
            Misconfigured,
            "the receiver takes no more (410): its hook was removed or is switched off; switch it on there, or change url:",
        ),
        408: Means(Transient),
        502: Means(Transient),
        503: Means(Transient),
        504: Means(Transient),
    },
)
"""What a status means. Any other 4xx (400, 404 while a receiver is deployed, 422) is tried again with a low cap."""


class OutgoingWebhookSettings(ConnectorSettings):
    """A receiver that signals are sent to."""

    url: Annotated[SecretStr, Field(description="where each record is POSTed: https, or http to this machine")]
    secret: Annotated[
        Secrets | None,
        Prompt(),
        Field(
            description="the signing key, `whsec_` and base64 of 24 to 64 bytes; a list while it is being changed, the new one "
            "first; without one nothing is signed"
        ),
    ] = None
    format: Annotated[
        Literal["cloudevents", "json"],
        Field(description="a CloudEvent in structured mode, or the mapping's fields as they are"),
    ] = "cloudevents"
    concurrency: Annotated[
        int, Field(ge=1, le=32, description="requests at once; those about one person follow each other")
    ] = 4
    allow_private: Annotated[
        bool, Field(description="allow addresses that are not of the public internet (a receiver in your own network)")
    ] = False

    @field_validator("url")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        try:
            check_base_url(url)
        except ValueError:
            host = urlsplit(url).hostname or "the receiver"
            raise ValueError(
                f"must be https:// (plain http:// only to this machine), and name a host ({host})"
            ) from None
        parts = urlsplit(url)
        learn(parts.path.strip("/"), parts.query, *(text for _, text in parse_qsl(parts.query)))
        return value

    @field_validator("secret")
    @classmethod
    def _signs(cls, value: Secrets | None) -> Secrets | None:
        for secret in secret_texts(value):
            signing_key(secret)
        return value


def signing_key(secret: str) -> bytes:
    """The key in a Standard Webhooks secret. Raises ValueError, without showing it, if it is not one."""
    try:
        key = unbase64(secret.strip().removeprefix(PREFIX), padded=False)
    except ValueError:
        key = b""
    if len(key) not in KEY_BYTES or not secret.strip().startswith(PREFIX):
        raise ValueError(
            f"must be {PREFIX} followed by base64 of 24 to 64 bytes; make one with: "
            "python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
        )
    return key


def signature(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of Standard Webhooks: one `v1,…` for each key, in their order."""
    signed = f"{id}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)


def body_of(write: Write, format: str) -> tuple[str, bytes]:
    """(webhook-id, body) of a record. Raises Rejected for one that cannot be sent."""
    record = {**write.on_create, **write.fields, **dict.fromkeys(write.clear)}
    document = _event(record) if format == "cloudevents" else _nested(record)
    id = write.key
    if write.id:  # it was sent before and has changed since: a receiver that knows the id would ignore it
        id = f"{write.key}.{hashlib.sha256(_encoded(document)).hexdigest()[:12]}"
    if format == "cloudevents":
        document = {"specversion": SPECVERSION, "id": id, **document}
    elif write.key_field:
        document = {write.key_field: id, **document}
    return id, _encoded(document)


def _event(record: dict[str, Any]) -> dict[str, Any]:
    lacking = [name for name in NEEDED if not record.get(name)]
    if lacking:
        raise Rejected(
            f"a CloudEvent needs {' and '.join(lacking)}: add it to fields:", code="format", field=lacking[0]
        )
    event = {
        name: record[name] for name in ATTRIBUTES if record.get(name) is not None and name not in ("id", "specversion")
    }
    data = _nested({name: value for name, value in record.items() if name not in ATTRIBUTES})
    return {**event, "datacontenttype": "application/json", "data": data}


def _nested(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its dotted names as objects: `person.email` is `{"person": {"email": …}}`."""
    document: dict[str, Any] = {}
    for name, value in record.items():
        *outer, last = name.split(".")
        at = document
        for part in outer:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise Rejected(f"{name}: {part} is a value already, and cannot hold {last}", code="format", field=name)
        at[last] = value
    return document


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        raise Rejected(f"the record cannot be written as JSON: {error}", code="format") from None


class WebhookDestination(DestinationDefaults):
    """One receiver. The id of a record is its key."""

    doubt: ClassVar[float] = 60.0

    def __init__(self, settings: OutgoingWebhookSettings, clock: Callable[[], datetime]) -> None:
        self._format = settings.format
        self._concurrency = settings.concurrency
        self._keys = [signing_key(secret) for secret in secret_texts(settings.secret)]
        self._clock = clock
        self._url = settings.url.get_secret_value()
        self._http = HttpClient(
            self._url,
            deadlines=Deadlines(connect=5, read=20, total=20),
            basic=_credentials(self._url),
            pool=settings.concurrency,
            public=not settings.allow_private,
        )
        self._spent = 0

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        return self._concurrency

    def keying(self, object: str, key_field: str) -> Idempotency:
        """Sent again whenever it is in doubt: receivers ignore an id that they have seen."""
        return Idempotency(WriteKind.UPSERT, readable=False)

    def resolve(self, people: Sequence[PersonQuery], *, deals: DealPick | None = None) -> list[PersonMatch | None]:
        """Nobody: a receiver is not asked anything."""
        return [None] * len(people)

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        """A call for each, in their order."""
        return [Call((write,), f"post {write.object}", None) for write in writes]

    def send(self, call: Call) -> list[Outcome]:
        (write,) = call.writes
        try:
            id, body = body_of(write, self._format)
        except Rejected as unsendable:
            return [unsendable]
        now = self._clock()
        headers = {"Content-Type": CONTENT_TYPES[self._format], "webhook-id": id}
        headers["webhook-timestamp"] = str(int(now.timestamp()))
        if self._keys:
            headers["webhook-signature"] = signature(self._keys, id, int(now.timestamp()), body)
        answer = self._asked("POST", body, headers)
        return [self._outcome(write, answer, now)]

    def _outcome(self, write: Write, answer: Response, now: datetime) -> Outcome:
        """Of a status that refuses this record; raises what refers to the receiver as a whole."""
        if answer.ok:
            return Written(write.key)
        said = VendorError(message=" ".join(answer.body[:SHOWN].decode("utf-8", "replace").split()))
        failure = ERRORS.of_errors([said], answer.status, write=True, wait=answer.retry_after(now), now=now)
        if answer.status in TOO_LARGE:
            return Rejected(failure.message, code=failure.code)
        if isinstance(failure, Transient) and not failure.known:
            return failure
        raise failure

    def _asked(self, method: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Response:
        try:
            return self._http.request(method, "", body=body, headers=headers)
        except Misconfigured as error:
            if error.code != NOT_PUBLIC:
                raise
            text = f"{error.message}; set allow_private: true if the receiver is in your own network"
            raise Misconfigured(text, code=error.code) from None

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """Nothing: a receiver cannot be asked what it has, as `keying` says."""
        return {}

    def spend(self) -> Usage:
        spent, self._spent = self._http.exchanges - self._spent, self._http.exchanges
        return Usage(spent, float(spent))

    def check_online(self) -> Iterator[Finding]:
        """Connects without sending an event."""
        if not self._keys:
            text = "nothing is signed: with secret: the receiver can tell our requests from others"
            yield Finding(Level.WARNING, "signature", text)
        if TEST_PATH in urlsplit(self._url).path:
            text = "this is n8n's test URL, which takes one call after a click in the editor; use the production URL"
            yield Finding(Level.WARNING, "url", text)
        answer = self._asked("OPTIONS")
        yield Finding(Level.OK, "connection", f"{urlsplit(self._url).hostname} answers (HTTP {answer.status})")

    def close(self) -> None:
        self._http.close()


def _credentials(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _build(settings: OutgoingWebhookSettings, context: Context) -> WebhookDestination:
    return WebhookDestination(settings, context.clock)


CONNECTOR = Connector(
    name="webhook",
    contract=2,
    role="destination",
    summary="any receiver of signals: a signed POST for each record (Standard Webhooks), as CloudEvents or JSON",
    settings=OutgoingWebhookSettings,
    build=_build,
    secrets_note="url is a secret where its path or query lets anybody send; secret signs",
)
