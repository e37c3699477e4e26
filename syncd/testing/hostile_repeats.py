"""A webhook source whose signals count events, and one for each mistake that the kit's check of them finds."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import msgspec
import orjson

from syncd.connector import Batch, Request
from syncd.errors import Malformed
from syncd.signals import Signal
from syncd.testing.hostile import GENESIS, HostileWebhook, make_signal


class CountingWebhook(HostileWebhook):
    """Bodies are JSON objects: `{"thing": 1, "event": 7, "at": 60}`, `at` in seconds. It makes no mistake."""

    def parse(self, request: Request) -> Batch:
        try:
            said = orjson.loads(request.body)
            event = make_signal(0, at=GENESIS + timedelta(seconds=int(said["at"])))
            return Batch([self.made(int(said["thing"]), msgspec.structs.replace(event, repeat=str(said["event"])))])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise Malformed(f"not what we send: {error!r:.100}") from error

    def made(self, thing: int, event: Signal) -> Signal:
        """The signal of an event."""
        return msgspec.structs.replace(event, id=make_signal(thing).id)


class NamesTheEvent(CountingWebhook):
    """Makes the id of the event."""

    def made(self, thing: int, event: Signal) -> Signal:
        return super().made(int(event.repeat), event)


class CountsOnce(CountingWebhook):
    """Has one name for all events of a thing."""

    def made(self, thing: int, event: Signal) -> Signal:
        return msgspec.structs.replace(super().made(thing, event), repeat=f"of {thing}")


class CountsEachRequest(CountingWebhook):
    """Has a new name for each request."""

    requests = count()

    def made(self, thing: int, event: Signal) -> Signal:
        return msgspec.structs.replace(super().made(thing, event), repeat=str(next(self.requests)))


class ForgetsToName(CountingWebhook):
    """Does not name the events."""

    def made(self, thing: int, event: Signal) -> Signal:
        return msgspec.structs.replace(super().made(thing, event), repeat="")
