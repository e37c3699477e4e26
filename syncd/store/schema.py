"""The tables. One definition for SQLite and PostgreSQL; migrations create them, everybody queries through them.

Hot and cold are apart: `deliveries` and `writes` hold only what still has work (or waits for an operator), `settled` and
`written` what is done. Times are UTC milliseconds since 1970 (integers sort and compare alike on both databases);
documents are JSON text or bytes. Ids are UUIDs in canonical text (36 characters).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
    select,
)

metadata = MetaData()

Id = String(36)
Name = String(200)
Millis = BigInteger

receipts = Table(
    "receipts",  # inbound work not yet signals: raw bodies in quarantine, and hints waiting to be fetched
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", Name, nullable=False),
    Column("kind", String(8), nullable=False),  # body | hint
    Column("key", String(500), nullable=False),  # hint key; a body's own id
    Column("payload", LargeBinary, nullable=False),  # body: msgspec JSON of the request; hint: its data
    Column("state", String(12), nullable=False),  # pending | quarantined
    Column("received_at", Millis, nullable=False),
    Column("not_before", Millis, nullable=False),  # when it is due (0: at once)
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # the failure class, lower-case
    Column("version", Integer, nullable=False, default=0),  # a hint merged while being fetched is fetched again
    Column("claim", Id),  # claim id of the worker that is fetching it
    Column("claimed_until", Millis, nullable=False, default=0),
    Index("receipts_due", "state", "not_before"),
    Index("receipts_key", "source", "kind", "key", unique=True),
)

signals = Table(
    "signals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("type", Name, nullable=False),
    Column("channel", Name, nullable=False),
    Column("source", Name, nullable=False),
    Column("route", String(10), nullable=False),
    Column("occurred_at", Millis, nullable=False),
    Column("received_at", Millis, nullable=False),
    Column("identity", String(330), nullable=False),  # Person.identity
    Column("body", LargeBinary, nullable=False),  # msgspec JSON of the Signal
    # Whose it is stands in the index of when it came, which grows at its end: a person is found by reading that index alone.
    # One of their own would be a page more to write for every signal, anywhere in it.
    Index("signals_received", "received_at", "identity"),
)

repeats = Table(
    "repeats",  # the single events that one signal counts (`Signal.repeat`): each counts once
    metadata,
    Column("signal_id", Id, nullable=False),
    Column("event", Id, nullable=False),  # UUIDv5 of the vendor's id of the event
    Column("at", Millis, nullable=False),  # when it happened
    PrimaryKeyConstraint("signal_id", "event"),
    sqlite_with_rowid=False,
)

tombstones = Table(
    "tombstones",  # ids of purged and forgotten signals: a late repeat is still known
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Millis, nullable=False),
)

deliveries = Table(
    "deliveries",  # one signal on its way to one destination; only pending and held ones
    metadata,
    Column("destination", Name, nullable=False),
    Column("signal_id", Id, nullable=False),
    Column("channel", Name, nullable=False),
    Column("state", String(8), nullable=False),  # pending | held
    Column("reason", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # of the reason: syncd.texts.reasons
    Column("parameters", Text, nullable=False, default="", server_default=""),  # of the reason, as JSON
    Column("live", Boolean, nullable=False),  # by webhook or scheduled poll, and within live_within
    Column("old", Boolean, nullable=False, default=False),  # may be older than our store (backfill, replay): look first
    Column("priority", Integer, nullable=False),  # 0 live, 1 backfill/import/replay: live goes first
    Column("due_at", Millis, nullable=False),
    Column("created_at", Millis, nullable=False),
    Column("claim", Id),
    Column("claimed_until", Millis, nullable=False, default=0),
    # How often the signal was counted up since a lane last took that into its records.
    Column("repeated", Integer, nullable=False, default=0, server_default="0"),
    PrimaryKeyConstraint("signal_id", "destination"),
    Index("deliveries_due", "destination", "state", "priority", "due_at"),
    sqlite_with_rowid=False,  # as few trees as can be: each is one more page to write for every signal
)

settled = Table(
    "settled",  # deliveries that have ended
    metadata,
    Column("destination", Name, nullable=False),
    Column("signal_id", Id, nullable=False),
    Column("channel", Name, nullable=False),
    Column("state", String(12), nullable=False),  # delivered | skipped | dead | discarded | unconfirmed
    Column("reason", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # of the reason: syncd.texts.reasons
    Column("parameters", Text, nullable=False, default="", server_default=""),  # of the reason, as JSON
    Column("settled_at", Millis, nullable=False),
    PrimaryKeyConstraint("signal_id", "destination"),
    Index("settled_state", "destination", "state", "channel"),
    sqlite_with_rowid=False,
)

writes = Table(
    "writes",  # one record that a delivery makes, by one rule
    metadata,
    Column("destination", Name, nullable=False),
    Column("signal_id", Id, nullable=False),
    Column("rule", Name, nullable=False),
    Column("key", Id, nullable=False),  # UUIDv5(about, rule): the record's key in the CRM
    Column("object", Name, nullable=False),
    Column("kind", String(12), nullable=False),  # upsert | unique | findable | at_most_once
    # pending | sending | doubt | held | written | skipped | dead | discarded | unconfirmed
    Column("state", String(12), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # of the reason: syncd.texts.reasons
    Column("parameters", Text, nullable=False, default="", server_default=""),  # of the reason, as JSON
    Column("crm_id", String(100), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_at", Millis, nullable=False, default=0),  # when the last try left, committed before it leaves
    Column("due_at", Millis, nullable=False, default=0),
    Column("stale_once", Boolean, nullable=False, default=False),  # the person was resolved afresh for it already
    Column("chosen", Text, nullable=False, default="", server_default=""),  # JSON: what was decided beside the mapping
    Column("updated_at", Millis, nullable=False),
    PrimaryKeyConstraint("destination", "signal_id", "rule"),
    Index("writes_key", "destination", "key"),
    Index("writes_state", "destination", "state"),
)

attempts = Table(
    "attempts",  # what was tried and what the CRM said, for `explain`
    metadata,
    Column("destination", Name, nullable=False),
    Column("signal_id", Id, nullable=False),
    Column("rule", Name, nullable=False),
    Column("at", Millis, nullable=False),
    Column("outcome", String(20), nullable=False),  # written | a failure class, lower-case
    Column("code", String(200), nullable=False, default=""),
    Column("message", Text, nullable=False, default=""),
    Index("attempts_signal", "signal_id"),
)

people = Table(
    "people",  # who is who in a destination; also that a person has no record there (object "")
    metadata,
    Column("destination", Name, nullable=False),
    Column("identity", String(330), nullable=False),
    Column("object", Name, nullable=False, default=""),
    Column("crm_id", String(100), nullable=False, default=""),
    Column("role", String(10), nullable=False, default=""),
    Column("account", String(100), nullable=False, default=""),  # the id of their company, and what it is:
    Column("account_object", Name, nullable=False, default="", server_default=""),
    Column("open_deal", Boolean),
    Column("deal", String(100), nullable=False, default="", server_default=""),  # the one that was picked
    Column("deal_object", Name, nullable=False, default="", server_default=""),
    # known | creating (sent, no answer yet) | rejected (the CRM refuses the record: see reason) | conflict (several
    # records have their phone number: see reason)
    Column("state", String(10), nullable=False, default="known"),
    Column("reason", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # of the reason: syncd.texts.reasons
    Column("parameters", Text, nullable=False, default="", server_default=""),  # of the reason, as JSON
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_at", Millis, nullable=False, default=0),
    Column("checked_at", Millis, nullable=False),
    Column("name", Text, nullable=False, default="", server_default=""),  # as the record has it
    Column(
        "by_number", Boolean, nullable=False, default=False, server_default=false()
    ),  # nothing but a phone number ties them
    Column("owner", Text, nullable=False, default="", server_default=""),  # of a record being created, as JSON
    PrimaryKeyConstraint("destination", "identity"),
    Index("people_record", "destination", "crm_id"),
)

identity_ties = Table(
    "identity_ties",  # two identities of one person (or, by an operator's word, of two), and what showed it
    metadata,
    Column("identity", String(330), nullable=False),  # the alphabetically first of the two
    Column("other", String(330), nullable=False),
    Column("via", String(10), nullable=False),  # signal | record | operator
    Column("evidence", String(330), nullable=False, default="", server_default=""),  # signal id, or the CRM's record
    Column("at", Millis, nullable=False),
    Column("seen_at", Millis, nullable=False),
    Column("apart", Boolean, nullable=False, default=False, server_default=false()),
    PrimaryKeyConstraint("identity", "other"),
    Index("identity_ties_other", "other"),
)

turns = Table(
    "turns",  # how many new records were given to the owners that take turns
    metadata,
    Column("destination", Name, nullable=False),
    Column("rule", Name, nullable=False),
    Column("taken", BigInteger, nullable=False),
    PrimaryKeyConstraint("destination", "rule"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("source", Name, primary_key=True),
    Column("state", LargeBinary, nullable=False),
    Column("updated_at", Millis, nullable=False),
)

memory = Table(
    "memory",  # what connectors remember between steps, by source and key
    metadata,
    Column("source", Name, nullable=False),
    Column("key", String(500), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("source", "key"),
)

leases = Table(
    "leases",  # one holder of a poll, a lane, a purge, a token refresh, at a time
    metadata,
    Column("name", String(300), primary_key=True),
    Column("holder", Name, nullable=False),
    Column("claim", Id, nullable=False),
    Column("expires_at", Millis, nullable=False),
)

tokens = Table(
    "tokens",  # access and refresh tokens, encrypted
    metadata,
    Column("grant_id", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_at", Millis, nullable=False),
)

refusals = Table(
    "refusals",  # sign-ins that a vendor refused: a mark made of the credentials with the store's key, and when
    metadata,
    Column("mark", String(64), nullable=False),
    Column("at", Millis, nullable=False),
    Column("said", Text, nullable=False),
    PrimaryKeyConstraint("mark", "at"),
)

lanes = Table(
    "lanes",  # what a destination's lane must remember over a restart
    metadata,
    Column("destination", Name, primary_key=True),
    Column("paused_until", Millis, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # of the reason: syncd.texts.reasons
    Column("failures", Integer, nullable=False, default=0),  # consecutive failed calls, for the breaker
    Column("state", LargeBinary, nullable=False, default=b""),  # pacing's own document
    Column("updated_at", Millis, nullable=False),
)

spending = Table(
    "spending",  # units spent per account and hour: 24 rolling hours are a sum of 24 rows
    metadata,
    Column("destination", Name, nullable=False),
    Column("hour", Millis, nullable=False),
    Column("units", Float, nullable=False),
    Column("calls", Integer, nullable=False, default=0),
    PrimaryKeyConstraint("destination", "hour"),
)

rates = Table(
    "rates",  # the bucket of a vendor account that all machines take from: what was in it, and when
    metadata,
    Column("account", Name, primary_key=True),
    Column("level", Float, nullable=False),
    Column("at", Millis, nullable=False),
)

allowances = Table(
    "allowances",  # what the account of a source had left when it last said so; `keep`: what is left to others
    metadata,
    Column("source", Name, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("units_left", Float, nullable=False),
    Column("keep", Float, nullable=False),
    Column("at", Millis, nullable=False),
)

tally = Table(
    "tally",  # signals that got a delivery, counted at the intake: the other side of the balance sheet
    metadata,
    Column("destination", Name, nullable=False),
    Column("channel", Name, nullable=False),
    Column("signals", BigInteger, nullable=False),
    PrimaryKeyConstraint("destination", "channel"),
)

anywhere = select(tally.c.destination)
"""Every destination that ever got a delivery. `writes` has its indexes by destination first: who asks for writes of a signal or
in a state at any destination says "at one of these", or reads the whole table."""

switched_off = Table(
    "switched_off",  # what the switches and `exclude` filtered, counted, for `status`
    metadata,
    Column("source", Name, nullable=False),
    Column("type", Name, nullable=False),
    Column("reason", String(20), nullable=False),  # switch | exclude
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "type", "reason"),
)

jobs = Table(
    "jobs",  # backfill, import, replay: durable, resumable
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("subject", Name, nullable=False),  # source or destination
    Column("args", Text, nullable=False),  # JSON
    Column("state", String(10), nullable=False),  # waiting | running | done | failed | stopped
    Column("progress", Text, nullable=False, default="{}"),  # JSON: counts, position as a date, error
    Column("cursor", LargeBinary),
    Column("created_at", Millis, nullable=False),
    Column("updated_at", Millis, nullable=False),
    Index("jobs_state", "state"),
)

source_health = Table(
    "source_health",  # how each source fares, for `status`
    metadata,
    Column("source", Name, primary_key=True),
    Column("last_ok_at", Millis, nullable=False, default=0),
    Column("last_signal_at", Millis, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("next_at", Millis, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
    Column("code", String(60), nullable=False, default="", server_default=""),  # the failure class, lower-case
)

notices = Table(
    "notices",  # what running daemons say of themselves, for `status`
    metadata,
    Column("holder", Name, nullable=False),
    Column("topic", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Millis, nullable=False),
    PrimaryKeyConstraint("holder", "topic"),
)
