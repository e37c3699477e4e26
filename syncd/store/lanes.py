"""What a lane keeps beside its queue: who is who in its CRM, how it is paced, and what it has spent.

Lanes call it inside their own transaction. A person is kept under the normalised identity; that a person has no record in
the CRM is kept too (`object` ""). Times are UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from syncd.connector import Link, PersonMatch
from syncd.store.journal.encoding import plain
from syncd.store.queue import LONGEST_ID, among, sql
from syncd.texts.reasons import Reason, code_of, packed

LONGEST_NAME = 300
HOURS_KEPT = 30 * 3_600_000


class PersonRow(msgspec.Struct, frozen=True):
    """A row of `people`. States: known; creating (sent, or to be sent again; `checked_at` is then when it may be looked
    at again, `reason` may name the identity it is created as); rejected (the CRM refuses the record: see `reason`); conflict
    (several records have their number: see `reason`). `account`, `deal`: as the connector gave them. `name`: as the record has
    it. `by_number`: only a phone number ties them to it. `owner`: whose turn the new record is, as JSON, "" while unassigned."""

    identity: str
    object: str = ""
    crm_id: str = ""
    role: str = ""
    account: Link | None = None
    open_deal: bool | None = None
    deal: Link | None = None
    state: str = "known"
    reason: str = ""
    attempts: int = 0
    sent_at: int = 0
    checked_at: int = 0
    name: str = ""
    by_number: bool = False
    owner: str = ""


_COLUMNS = """identity, object, crm_id, role, account, account_object, open_deal, deal, deal_object, state, reason, attempts,
    sent_at, checked_at, name, by_number, owner, code, parameters"""
_PUT = f"""INSERT INTO people (destination, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (destination, identity) DO UPDATE SET object = excluded.object, crm_id = excluded.crm_id,
    role = excluded.role, account = excluded.account, account_object = excluded.account_object,
    open_deal = excluded.open_deal, deal = excluded.deal, deal_object = excluded.deal_object, state = excluded.state,
    reason = excluded.reason, attempts = excluded.attempts, sent_at = excluded.sent_at, checked_at = excluded.checked_at,
    name = excluded.name, by_number = excluded.by_number, owner = excluded.owner, code = excluded.code,
    parameters = excluded.parameters"""  # noqa: S608  no value is in the text


def people(connection: Connection, destination: str, identities: Iterable[str]) -> dict[str, PersonRow]:
    """What is kept of these people; who is not kept is absent."""
    where, wanted = among(connection, "identity", identities)
    text = f"SELECT {_COLUMNS} FROM people WHERE destination = ? AND {where}"  # noqa: S608  no value is in the text
    rows = connection.exec_driver_sql(sql(connection, text), (destination, wanted))
    return {row[0]: _person(row) for row in rows}


def _person(row: Sequence[Any]) -> PersonRow:
    identity, object_, crm_id, role, account, account_object, open_deal, deal, deal_object, *rest = row
    state, text, attempts, sent_at, checked_at, name, by_number, owner, code, parameters = rest
    return PersonRow(
        identity,
        object_,
        crm_id,
        role,
        _link(account_object, account),
        None if open_deal is None else bool(open_deal),
        _link(deal_object, deal),
        state,
        Reason.stored(text, code, parameters),
        attempts,
        sent_at,
        checked_at,
        name,
        bool(by_number),
        owner,
    )


def _link(object_: str, id_: str) -> Link | None:
    return Link(object_, id_) if object_ and id_ else None


def _stored(link: Link | None) -> tuple[str, str]:
    """(id, object) as the columns have them."""
    return (link.id[:LONGEST_ID], link.object) if link else ("", "")


def put_people(connection: Connection, destination: str, rows: Iterable[PersonRow]) -> None:
    """Inserts or replaces people."""
    values = [
        (
            destination,
            p.identity,
            p.object,
            p.crm_id[:LONGEST_ID],
            p.role,
            *_stored(p.account),
            p.open_deal,
            *_stored(p.deal),
            p.state,
            plain(p.reason) if p.reason else "",
            p.attempts,
            p.sent_at,
            p.checked_at,
            plain(p.name[:LONGEST_NAME]) if p.name else "",
            p.by_number,
            p.owner,
            code_of(p.reason),
            packed(p.reason),
        )
        for p in rows
    ]
    if values:
        connection.exec_driver_sql(sql(connection, _PUT), values)


def holders(connection: Connection, destination: str, ids: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """(object, CRM id) -> the identities of one person alone (email addresses, handles) that are known as that record, of the
    records with these ids."""
    where, wanted = among(connection, "crm_id", ids)
    text = f"""SELECT object, crm_id, identity FROM people
        WHERE destination = ? AND state = 'known' AND identity NOT LIKE ? AND {where}"""  # noqa: S608  no value is in the text
    found: dict[tuple[str, str], set[str]] = {}
    for object_, crm_id, identity in connection.exec_driver_sql(
        sql(connection, text), (destination, "phone:%", wanted)
    ):
        found.setdefault((object_, crm_id), set()).add(identity)
    return found


def turns_taken(connection: Connection, destination: str, rule: str) -> int:
    """How many turns of the owners of a rule's new records were taken so far."""
    text = "SELECT taken FROM turns WHERE destination = ? AND rule = ?"
    return int(connection.exec_driver_sql(sql(connection, text), (destination, rule)).scalar() or 0)


def take_turns(connection: Connection, destination: str, rule: str, count: int) -> None:
    """So many more turns were taken."""
    text = """INSERT INTO turns (destination, rule, taken) VALUES (?, ?, ?)
        ON CONFLICT (destination, rule) DO UPDATE SET taken = turns.taken + excluded.taken"""
    connection.exec_driver_sql(sql(connection, text), (destination, rule, count))


def drop_people(connection: Connection, destination: str, identities: Iterable[str]) -> None:
    """Forgets what is known of these people and of whoever else is known as their records; a record being created is not
    forgotten."""
    where, wanted = among(connection, "identity", identities)
    text = f"""DELETE FROM people WHERE destination = ? AND state <> 'creating' AND ({where} OR crm_id IN
        (SELECT crm_id FROM people WHERE destination = ? AND crm_id <> '' AND {where}))"""  # noqa: S608
    connection.exec_driver_sql(sql(connection, text), (destination, wanted, destination, wanted))


def follow_converted(connection: Connection, destination: str, lead: Link, found: PersonMatch) -> None:
    """Whoever is known as this lead is known as the contact that it became."""
    text = """UPDATE people SET object = ?, crm_id = ?, role = ?, account = ?, account_object = ?, open_deal = ?, deal = ?,
        deal_object = ? WHERE destination = ? AND object = ? AND crm_id = ? AND state = 'known'"""
    values = (found.object, found.id[:LONGEST_ID], found.role, *_stored(found.account), found.open_deal)
    where = (destination, lead.object, lead.id[:LONGEST_ID])
    connection.exec_driver_sql(sql(connection, text), (*values, *_stored(found.deal), *where))


def drop_nobodies(connection: Connection, destination: str) -> None:
    """Forgets who has no record: a record was just made that one of them may be found by, too."""
    text = "DELETE FROM people WHERE destination = ? AND state = 'known' AND object = ''"
    connection.exec_driver_sql(sql(connection, text), (destination,))


def drop_unknown(connection: Connection, destination: str, identities: Iterable[str]) -> None:
    """Forgets that these people have no record, so that they are looked up at once; a record being created is not
    forgotten."""
    where, wanted = among(connection, "identity", identities)
    text = f"DELETE FROM people WHERE destination = ? AND object = '' AND state <> 'creating' AND {where}"  # noqa: S608
    connection.exec_driver_sql(sql(connection, text), (destination, wanted))


def drop_rejected(connection: Connection, destination: str) -> None:
    """Gives people whom the CRM refused another chance: after a reload, or when a dead letter is retried."""
    text = "DELETE FROM people WHERE destination = ? AND state = 'rejected'"
    connection.exec_driver_sql(sql(connection, text), (destination,))


# ------------------------------------------------------------------------------------------------------------ pacing


def pace_of(connection: Connection, destination: str) -> bytes:
    """Pacing's document as it was stored, b"" if it was never stored."""
    text = "SELECT state FROM lanes WHERE destination = ?"
    return bytes(connection.exec_driver_sql(sql(connection, text), (destination,)).scalar() or b"")


def put_pace(
    connection: Connection,
    destination: str,
    state: bytes,
    *,
    paused_until: int,
    reason: str,
    code: str,
    failures: int,
    now: int,
) -> None:
    """Keeps pacing's document, with what `status` shows of it in columns."""
    text = """INSERT INTO lanes (destination, paused_until, reason, code, failures, state, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (destination) DO UPDATE SET paused_until = excluded.paused_until, reason = excluded.reason,
            code = excluded.code, failures = excluded.failures, state = excluded.state, updated_at = excluded.updated_at"""
    values = (destination, paused_until, plain(reason), code, failures, state, now)
    connection.exec_driver_sql(sql(connection, text), values)


def spend(connection: Connection, destination: str, hour: int, units: float, calls: int) -> None:
    """Adds to an hour's spending (may be negative: a correction), and drops hours that no longer count."""
    text = """INSERT INTO spending (destination, hour, units, calls) VALUES (?, ?, ?, ?)
        ON CONFLICT (destination, hour) DO UPDATE SET units = spending.units + excluded.units,
            calls = spending.calls + excluded.calls"""
    connection.exec_driver_sql(sql(connection, text), (destination, hour, units, calls))
    old = "DELETE FROM spending WHERE destination = ? AND hour < ?"
    connection.exec_driver_sql(sql(connection, old), (destination, hour - HOURS_KEPT))


def spending(connection: Connection, destination: str) -> list[tuple[int, float]]:
    """(start of the hour, units), as far back as counts."""
    text = "SELECT hour, units FROM spending WHERE destination = ? ORDER BY hour"
    return [(int(row[0]), float(row[1])) for row in connection.exec_driver_sql(sql(connection, text), (destination,))]


# ------------------------------------------------------------------------------------------------- a clock that is set

_DOUBTS = (
    """UPDATE writes SET due_at = CASE WHEN due_at - sent_at > ? THEN due_at ELSE due_at + ? END, sent_at = sent_at + ?
    WHERE destination = ? AND state IN ('sending', 'doubt') AND sent_at {old} ?""",
    """UPDATE people SET checked_at = CASE WHEN checked_at - sent_at > ? THEN checked_at ELSE checked_at + ? END,
    sent_at = sent_at + ? WHERE destination = ? AND state = 'creating' AND sent_at {old} ?""",
)
_ANY_SPAN = 2**62
_DUES = (
    "UPDATE deliveries SET due_at = due_at + ? WHERE destination = ? AND due_at > ?",
    "UPDATE writes SET due_at = due_at + ? WHERE destination = ? AND state IN ('pending', 'held') AND due_at > ?",
)


_UNTRIED = "UPDATE deliveries SET due_at = ? WHERE destination = ? AND state = 'pending' AND due_at > ? AND due_at = created_at"


def due_at_once(connection: Connection, destination: str, now: int) -> None:
    """What came while the clock was ahead, and is committed only now that it was set back, is not due later than `now`."""
    connection.exec_driver_sql(sql(connection, _UNTRIED), (now, destination, now))


def move_times(connection: Connection, destination: str, by: int, now: int, *, doubt: int) -> None:
    """The clock was set by so many milliseconds, to `now`. Doubts move along: they are spans, not times of day. Set back,
    so does all that would wait for the old time to come again; set ahead, the rest is simply due early. What was sent since
    has its time by the new clock and stays. Set ahead, so does a time that is further from the sending than `doubt`, the longest
    one (milliseconds): an answer came between the change and now."""
    old, than, longest = (">", now, _ANY_SPAN) if by < 0 else ("<=", now - by, doubt)
    for text in _DOUBTS:
        connection.exec_driver_sql(sql(connection, text.format(old=old)), (longest, by, by, destination, than))
    if by < 0:
        for text in _DUES:
            connection.exec_driver_sql(sql(connection, text), (by, destination, now))
