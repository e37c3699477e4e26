"""`type: asterisk`: calls of an Asterisk PBX, from its manager interface (AMI) as they end, and from its call records (CDR).

AMI has no history: what it says reaches syncd at once, and calls while nobody listened are in the CDR alone. So each poll reads
the CDR, where there is one, and takes what was heard meanwhile; both name a call by its Linkedid.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator, model_validator

from syncd.capabilities import Finding, Level
from syncd.connector import Ability, Batch, Connector, ConnectorSettings, Context, Prompt, SignalSpec
from syncd.connectors.phone.asterisk_ami import AmiAddress, AmiConnection, opened
from syncd.connectors.phone.asterisk_calls import INTERNAL, CallSides, CallTracker, epoch_of, outcome_of
from syncd.connectors.phone.asterisk_cdr import CdrCall, CdrFile, CdrLog, CdrTable, cdr_calls, local_time
from syncd.connectors.phone.calls import SIGNALLED, PhoneAccount, PhoneCall, PhoneSettings
from syncd.errors import Transient
from syncd.signals import Route, Signal
from syncd.time_cursor import ItemMark, TimeCursor, encode, mark_of, read_cursor

KIND = "asterisk"
TURN = 0.5
"""Seconds of one wait for frames."""
QUIET, ANSWER = 30.0, 15.0
"""Seconds of silence after which AMI is asked whether it is there, and in which it must answer."""
LAG = timedelta(minutes=10)
SETTLING = timedelta(seconds=30)
"""The rows of a call are written within so long after its end."""
LONGEST = timedelta(hours=4)
WINDOW = timedelta(days=7)
MOST_HEARD = 100_000


class CdrSettings(ConnectorSettings):
    """Where Asterisk writes its call detail records."""

    csv: Annotated[Path | None, Field(description="Master.csv, usually /var/log/asterisk/cdr-csv/Master.csv")] = None
    url: Annotated[
        SecretStr | None,
        Field(description="or a database, as SQLAlchemy writes it: mysql+pymysql://USER:PASSWORD@HOST/NAME"),
    ] = None
    table: Annotated[str, Field(min_length=1, description="its table")] = "cdr"
    timezone: Annotated[str | None, Field(description="of the PBX, whose times have none; default: syncd's")] = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"there is not a time zone {value!r}; write it like Asia/Ho_Chi_Minh") from None
        return value

    @field_validator("url")
    @classmethod
    def _url(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            if value is not None:
                sa.make_url(value.get_secret_value())
        except (sa.exc.ArgumentError, ValueError):
            raise ValueError("is not a database URL; write it like mysql+pymysql://USER:PASSWORD@HOST/NAME") from None
        return value

    @model_validator(mode="after")
    def _one_place(self) -> CdrSettings:
        if (self.csv is None) == (self.url is None):
            raise ValueError("set csv: or url:, one of them")
        return self


class AsteriskSettings(PhoneSettings):
    """Keys of an Asterisk source: how to reach AMI, where the CDR is, or both."""

    host: Annotated[str, Prompt()] = Field("", description="where AMI is; without it only the CDR is read")
    port: int = Field(0, ge=0, le=65_535, description="its port; default: 5038, with TLS 5039")
    tls: bool = Field(False, description="AMI is reached by TLS")
    tls_ca: Path | None = Field(None, description="certificate to trust, for one that the PBX signed itself")
    username: Annotated[str, Prompt()] = Field("", pattern=r"^[^\r\n]*$", description="section of manager.conf")
    secret: Annotated[SecretStr | None, Prompt()] = Field(None, description="its secret")
    cdr: CdrSettings | None = Field(
        None, description="where the call detail records are; without it AMI alone is heard"
    )
    inbound_contexts: list[str] = Field(
        [], description="contexts of the trunks (from-trunk, from-pstn); default: whoever is not an extension calls in"
    )
    internal: str = Field(INTERNAL, description="what the numbers of extensions look like, a regular expression")
    system: str = Field("", description="a name of the PBX, if you read several that have no systemname")

    @field_validator("internal")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return value

    @field_validator("secret")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and re.search(r"[\r\n]", value.get_secret_value()):
            raise ValueError("has a line break")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> AsteriskSettings:
        if not self.host and self.cdr is None:
            raise ValueError("set host: (AMI), cdr: (call detail records), or both")
        if self.host and not (self.username and self.secret):
            raise ValueError("host: needs username: and secret: of manager.conf")
        return self


class HeardCalls:
    """Calls that ended while syncd listened, until a poll has them. `gaps`: how often listening began anew. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls: dict[str, PhoneCall] = {}
        self._dropped: dict[str, int] = {}
        self.listening = False

    def add(self, call: PhoneCall) -> None:
        with self._guard:
            if len(self._calls) < MOST_HEARD:
                self._calls[call.id] = call

    def count(self, reason: str, times: int = 1) -> None:
        with self._guard:
            self._dropped[reason] = self._dropped.get(reason, 0) + times

    @contextmanager
    def taken(self) -> Iterator[tuple[list[PhoneCall], dict[str, int]]]:
        """What there is; it is forgotten when the block ends well."""
        with self._guard:
            calls, dropped = list(self._calls.values()), dict(self._dropped)
        yield calls, dropped
        with self._guard:
            for call in calls:
                self._calls.pop(call.id, None)
            for reason, times in dropped.items():
                self._dropped[reason] -= times
            self._dropped = {reason: times for reason, times in self._dropped.items() if times}


class _Pbx:
    """What all forms of the source share."""

    def __init__(self, settings: AsteriskSettings, context: Context) -> None:
        self._calls = PhoneAccount(KIND, settings.system, settings, context, id_name="linkedid")
        self._context = context
        self._sides = CallSides(re.compile(settings.internal), frozenset(settings.inbound_contexts))

    def start(self, now: datetime) -> bytes:
        return encode(TimeCursor(now))

    def _signals(self, calls: Sequence[PhoneCall], now: datetime, route: Route) -> list[Signal]:
        return [
            signal
            for call in calls
            if self._calls.concerns(call)
            for signal in self._calls.signals(outcome_of(call), call, now, route)
        ]


class AsteriskCdr(_Pbx):
    """A PollingSource and Backfillable over the CDR."""

    def __init__(self, settings: AsteriskSettings, context: Context) -> None:
        super().__init__(settings, context)
        assert settings.cdr is not None
        cdr = settings.cdr
        self._zone = ZoneInfo(cdr.timezone) if cdr.timezone else context.timezone
        self._log: CdrLog
        if cdr.url is not None:
            self._log = CdrTable(cdr.url.get_secret_value(), cdr.table, self._zone)
        else:
            self._log = CdrFile(context.beside(cdr.csv or Path()), self._zone)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """Calls whose rows are all written; others come next time."""
        cursor = read_cursor(state)
        since, until = cursor.since - LONGEST, max(now, cursor.since) + timedelta(days=1)
        calls, unread = cdr_calls(self._log.rows(since, until), self._sides, self._zone)
        settled = [one for one in calls if one.ended_at + SETTLING <= now]
        fresh = cursor.fresh(settled, _mark)
        after = cursor.after(map(_mark, fresh), LAG)
        if fresh or after != cursor:
            dropped = {"CDR without a time": unread} if unread else {}
            yield Batch(
                self._signals([one.call for one in fresh], now, Route.POLL), state=encode(after), dropped=dropped
            )

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        begin = read_cursor(state).since if state is not None else since
        while begin < until:
            end = min(begin + WINDOW, until)
            rows = self._log.rows(begin - timedelta(hours=1), end + LONGEST)
            calls, unread = cdr_calls(rows, self._sides, self._zone)
            within = [one.call for one in calls if one.call.started_at and begin <= one.call.started_at < end]
            made = self._signals(within, self._context.clock(), Route.BACKFILL)
            yield Batch(made, state=encode(TimeCursor(end)), dropped={"CDR without a time": unread} if unread else {})
            begin = end

    def check_online(self) -> Iterator[Finding]:
        """Reads the records of a day: that they can be read, that they name their call, and whether the time zone is right."""
        now = self._context.clock()
        rows = list(self._log.rows(now - timedelta(days=1), now + timedelta(days=1)))
        yield Finding(Level.OK, "cdr", f"{len(rows)} records of the last day")
        if rows and not any(row.get("linkedid") for row in rows):
            text = "the records have no linkedid, so that a call through a queue with Local channels may be several signals"
            yield Finding(Level.WARNING, "linkedid", text, "add the column linkedid (cdr.conf: newcdrcolumns=yes)")
        for row in rows[:1]:
            told, real = local_time(row.get("start", ""), self._zone), epoch_of(row.get("uniqueid", ""))
            if told and real and abs(told - real) > timedelta(minutes=10):
                hours = (told - real).total_seconds() / 3600
                text = f"times of the records are {hours:+.1f} h off in the zone {self._zone.key}"
                yield Finding(Level.WARNING, "timezone", text, "set cdr.timezone to that of the PBX")


class _Listening(_Pbx):
    """AMI: what ends is heard by `wait` and taken by the next poll, which `wait` causes."""

    def __init__(self, settings: AsteriskSettings, context: Context) -> None:
        super().__init__(settings, context)
        ca = context.beside(settings.tls_ca) if settings.tls_ca else None
        port = settings.port or (5039 if settings.tls else 5038)
        secret = settings.secret.get_secret_value() if settings.secret else ""
        self._address = AmiAddress(settings.host, port, settings.tls, ca, settings.username, secret)
        self._heard = HeardCalls()
        self._connected_before = False

    def wait(self, stop: threading.Event) -> Iterator[None]:
        """Whenever a call has ended; see `syncd.capabilities.Waiting`."""
        tracker = CallTracker(self._sides)
        with opened(self._address, self._context) as ami:
            if self._connected_before:
                self._heard.count("listening was interrupted")
            self._connected_before = self._heard.listening = True
            try:
                yield
                for frames in _turns(ami, stop):
                    ended = [call for frame in frames if (call := tracker.feed(frame, self._context.clock()))]
                    for call in ended:
                        self._heard.add(call)
                    if tracker.unjudged:
                        self._heard.count("call that began before syncd listened", tracker.unjudged)
                        tracker.unjudged = 0
                    if ended:
                        yield
            finally:
                self._heard.listening = False

    def _taken(self, state: bytes, now: datetime) -> Iterator[Batch]:
        with self._heard.taken() as (calls, dropped):
            if calls or dropped:
                yield Batch(self._signals(calls, now, Route.POLL), state=state, dropped=dropped)

    def _check_ami(self) -> Iterator[Finding]:
        with opened(self._address, self._context) as ami:
            yield Finding(Level.OK, "ami", f"signed in at {self._address.place}, AMI {ami.version}")


class AsteriskAmi(_Listening):
    """A PollingSource and Waiting over AMI alone. A poll of a machine that does not listen tries the sign-in, so that what is
    wrong with it shows in `syncd status`."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        yield from self._taken(state, now)
        if not self._heard.listening:
            with opened(self._address, self._context):
                pass

    def check_online(self) -> Iterator[Finding]:
        """The sign-in; and what AMI alone cannot do."""
        yield from self._check_ami()
        text = "there is no cdr:, so calls while syncd does not listen are not seen"
        yield Finding(Level.WARNING, "cdr", text, "set cdr.csv or cdr.url")


class AsteriskBoth(_Listening, AsteriskCdr):
    """A PollingSource, Waiting and Backfillable: AMI for speed, the CDR so that nothing is missing."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        yield from self._taken(state, now)
        yield from AsteriskCdr.poll(self, state, now)

    def check_online(self) -> Iterator[Finding]:
        """The sign-in, and the records of a day."""
        yield from self._check_ami()
        yield from AsteriskCdr.check_online(self)


def _turns(ami: AmiConnection, stop: threading.Event) -> Iterator[Sequence[Mapping[str, str]]]:
    """Frames as they come, until `stop`. A PBX that says nothing any more, whatever TCP thinks, is noticed."""
    heard, asked = time.monotonic(), False
    while not stop.is_set():
        frames = ami.frames(TURN)
        if frames:
            heard, asked = time.monotonic(), False
            yield frames
        elif asked and time.monotonic() - heard > QUIET + ANSWER:
            raise Transient("AMI: the PBX does not answer any more: the connection is dead", code="lost")
        elif not asked and time.monotonic() - heard > QUIET:
            asked = True
            ami.send("Ping")


def _mark(one: CdrCall) -> ItemMark | None:
    return mark_of(one.call.id, one.ended_at)


def build(settings: AsteriskSettings, context: Context) -> AsteriskCdr | AsteriskAmi | AsteriskBoth:
    """The form that these settings allow."""
    if not settings.host:
        return AsteriskCdr(settings, context)
    return AsteriskBoth(settings, context) if settings.cdr is not None else AsteriskAmi(settings, context)


def _unable(settings: AsteriskSettings) -> dict[Ability, str]:
    if not settings.host:
        return {Ability.WAIT: "host: is not set; with AMI a call is known as soon as it ends"}
    if settings.cdr is None:
        return {
            Ability.BACKFILL: "cdr: is not set; AMI has no history, so calls while syncd does not listen are not seen"
        }
    return {}


_KEY = "AMI: Linkedid; CDR: linkedid, otherwise uniqueid"
CONNECTOR = Connector(
    name=KIND,
    summary="calls of an Asterisk or FreePBX PBX: missed, answered and placed",
    settings=AsteriskSettings,
    build=build,
    signals=tuple(SignalSpec(outcome.signal_type, _KEY, backfill=True) for outcome in SIGNALLED),
    unable=_unable,
    contract=2,
    role="source",
)
