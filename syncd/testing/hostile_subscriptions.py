"""Sources that are careless about their webhook at the vendor, one for each check of the suite of subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Batch
from syncd.errors import Misconfigured
from syncd.testing.hint_only import LIFETIME, HintOnlySource


class MakesAnother(HintOnlySource):
    """Replaces what is there each time."""

    def subscribe(self, *, force: bool = False) -> Subscribed:
        self.feed.hooks.clear()
        return super().subscribe()


class LeavesTwo(HintOnlySource):
    """Makes a second one and speaks only of the first."""

    def subscribe(self, *, force: bool = False) -> Subscribed:
        if self.feed.hooks:
            self.feed.hooks["unsaid"] = self.feed.now + LIFETIME
        return Subscribed(there=super().subscribe().there[:1])


class ListsNothing(HintOnlySource):
    """Cannot list what it made."""

    def subscribe(self, *, force: bool = False) -> Subscribed:
        made = super().subscribe()
        return Subscribed(there=[self._hook(id_) for id_ in self.feed.hooks], remember=made.remember)

    def subscriptions(self) -> list[Subscription]:
        return []


class KnowsNoneAsItsOwn(HintOnlySource):
    """Takes its own webhook for a stranger's."""

    def _hook(self, id_: str) -> Subscription:
        return replace(super()._hook(id_), ours=False)


class RemovesNothing(HintOnlySource):
    """Says that it removed it."""

    def unsubscribe(self, id: str) -> None:
        return


class NamesNoEnd(HintOnlySource):
    """Does not say until when, so that it is never renewed."""

    def _hook(self, id_: str) -> Subscription:
        return replace(super()._hook(id_), expires_at=None)


class LastsADay(HintOnlySource):
    """Asks for less than the vendor gives."""

    def _hook(self, id_: str) -> Subscription:
        return replace(super()._hook(id_), expires_at=self.feed.now + timedelta(days=1))


class RenewsInVain(HintOnlySource):
    """Computes the new end without the vendor."""

    def subscribe(self, *, force: bool = False) -> Subscribed:
        made = super().subscribe()
        self.feed.hooks = dict.fromkeys(self.feed.hooks, self.feed.now + timedelta(hours=2))
        return made

    def renew(self, id: str) -> Subscription | None:
        return replace(self._hook(id), expires_at=self.feed.now + LIFETIME)


class RenewsByAnother(HintOnlySource):
    """Makes a new one and leaves the old one there."""

    def renew(self, id: str) -> Subscription | None:
        self.feed.hooks["another"] = self.feed.now + LIFETIME
        return self._hook("another")


class TakesItForLost(HintOnlySource):
    """Does not renew what is there."""

    def renew(self, id: str) -> Subscription | None:
        return None


class FailsWhenLost(HintOnlySource):
    """Fails for what the vendor lost, so that the daemon tries it again for ever."""

    def renew(self, id: str) -> Subscription | None:
        renewed = super().renew(id)
        if renewed is None:
            raise Misconfigured("the vendor does not know this webhook", code="404")
        return renewed


class PretendsToRenew(HintOnlySource):
    """Takes the vendor's "not there" for a success."""

    def renew(self, id: str) -> Subscription | None:
        return super().renew(id) or Subscription(id=id, url="", ours=True, expires_at=self.feed.now + LIFETIME)


class MissesTheGap(HintOnlySource):
    """Reads nothing while no webhook woke it."""

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return iter(())


class RemembersAnother(HintOnlySource):
    """Keeps a secret that the vendor does not sign with."""

    def subscribe(self, *, force: bool = False) -> Subscribed:
        return Subscribed(there=super().subscribe().there, remember={"hook secret": "another secret"})


class NotesItsSecret(HintOnlySource):
    """Shows its secret beside its webhook."""

    def _hook(self, id_: str) -> Subscription:
        return replace(super()._hook(id_), note=f"signed with {self.feed.secret}")
