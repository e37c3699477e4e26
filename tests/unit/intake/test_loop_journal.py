"""How requests gather into groups: while one is being written the next is held, but for no longer than HOLD."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from syncd.intake.async_journal import DRY_TURNS, AsyncJournal
from syncd.store.journal.entries import Committed, JournalEntry, OnDone, OnDoneMany, StoreUnavailable


class Written:
    """A journal that ends its groups when told to."""

    def __init__(self, enough: int = 256) -> None:
        self.enough = enough
        self.groups: list[Sequence[tuple[JournalEntry, OnDone]]] = []
        self.tells: list[OnDoneMany] = []
        self.closed = False

    @property
    def depth(self) -> int:
        return 0

    def prepare(self, entry: JournalEntry) -> JournalEntry:
        return entry

    def submit_all(self, entries: Sequence[tuple[JournalEntry, OnDone]], tell: OnDoneMany) -> None:
        if self.closed:
            raise StoreUnavailable("closed")
        self.groups.append(entries)
        self.tells.append(tell)

    def end(self, group: int) -> None:
        self.tells[group]([(done, Committed()) for _, done in self.groups[group]])


async def turns(count: int = DRY_TURNS + 2) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_comes_during_a_commit_is_the_next_group() -> None:
    async def run() -> None:
        journal = Written()
        gathered = AsyncJournal(journal)
        first = [gathered.commit(JournalEntry("a")) for _ in range(3)]
        await turns()
        later = [gathered.commit(JournalEntry("b")) for _ in range(2)]
        await turns()
        assert ([len(group) for group in journal.groups], gathered.held) == ([3], 2)
        journal.end(0)
        await asyncio.gather(*first)
        await turns()
        assert ([len(group) for group in journal.groups], gathered.held) == ([3, 2], 0)
        journal.end(1)
        await asyncio.gather(*later)

    asyncio.run(run())


def test_enough_is_handed_over_while_more_come_once_the_writer_is_free() -> None:
    async def run() -> None:
        journal = Written(enough=3)
        gathered = AsyncJournal(journal)
        waiting = [gathered.commit(JournalEntry("a")) for _ in range(4)]
        assert ([len(group) for group in journal.groups], gathered.held) == ([3], 1)
        waiting += [gathered.commit(JournalEntry("b")) for _ in range(4)]
        await turns()
        assert gathered.held == 5  # the writer is not free: they are one group, not two
        journal.end(0)
        await asyncio.gather(*waiting[:3])
        assert ([len(group) for group in journal.groups], gathered.held) == ([3, 5], 0)
        journal.end(1)
        waiting.append(gathered.commit(JournalEntry("c")))
        await turns()
        journal.end(2)
        await asyncio.gather(*waiting)
        assert gathered.held == 0

    asyncio.run(run())


def test_a_commit_that_takes_long_holds_nothing_back() -> None:
    async def run() -> None:
        journal = Written()
        gathered = AsyncJournal(journal)
        gathered.commit(JournalEntry("a"))
        await turns()
        gathered.commit(JournalEntry("b"))
        async with asyncio.timeout(10):
            while gathered.held:
                await asyncio.sleep(0)
        assert [len(group) for group in journal.groups] == [1, 1]

    asyncio.run(run())


def test_a_closed_journal_is_heard_of_and_blocks_nothing() -> None:
    async def run() -> None:
        journal = Written()
        gathered = AsyncJournal(journal)
        journal.closed = True
        refused = gathered.commit(JournalEntry("a"))
        await turns()
        assert isinstance(refused.exception(), StoreUnavailable)
        journal.closed = False
        taken = gathered.commit(JournalEntry("b"))
        await turns()
        journal.end(0)
        assert await taken == Committed()

    asyncio.run(run())
