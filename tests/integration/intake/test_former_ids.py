"""Signals that are stored under the id of an earlier version keep it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid5

from msgspec import structs

from syncd.connector import Batch, FormerId
from syncd.intake.former_ids import with_former_ids
from syncd.store import Store
from syncd.store.journal.entries import JournalEntry, NewSignal
from syncd.store.schema import signals, tombstones
from tests.entries import CRM, MOMENT, a_signal

NOW = uuid5(UUID(int=0), "now")


def stored(store: Store) -> UUID:
    signal = a_signal(1)
    store.journal.commit(JournalEntry("inbox", arrivals=[NewSignal(signal, CRM)], received_at=MOMENT))
    return signal.id


def again(former: FormerId) -> Batch:
    return Batch(signals=[structs.replace(a_signal(1), id=NOW)], formerly={NOW: former})


def ids(batch: Batch) -> list[UUID]:
    return [signal.id for signal in batch.signals]


def test_the_same_event_keeps_its_id(store: Store) -> None:
    former, at = stored(store), a_signal(1).occurred_at
    assert ids(with_former_ids(again(FormerId(former, at)), store)) == [former]
    assert ids(with_former_ids(again(FormerId(former)), store)) == [former]


def test_another_event_under_the_former_id_has_its_own(store: Store) -> None:
    former, at = stored(store), a_signal(1).occurred_at
    assert ids(with_former_ids(again(FormerId(former, at + timedelta(hours=3))), store)) == [NOW]
    assert ids(with_former_ids(again(FormerId(uuid5(NOW, "unknown"), at)), store)) == [NOW]
    assert ids(with_former_ids(Batch(signals=[a_signal(1)]), store)) == [former]


def test_what_was_purged_is_the_same(store: Store) -> None:
    former = stored(store)

    def purge(connection: object) -> None:
        connection.execute(tombstones.insert(), {"id": str(former), "at": 0})  # type: ignore[attr-defined]
        connection.execute(signals.delete())  # type: ignore[attr-defined]

    store.apply(purge)
    assert ids(with_former_ids(again(FormerId(former, MOMENT)), store)) == [former]
