"""The stand-in of a vendor that the conformance suites of sources drive."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from syncd.connector import Request
from syncd.twins.fake_vendor import FakeVendor
from syncd.twins.server import Twin


class Vendor:
    """What a suite asks of the stand-in. Events are numbered; number n is the same event on every route. Override what the
    vendor can do; the defaults say that it cannot.

    `signals_per_event`: how many signals one event makes. `many`: events enough for three pages. `keeps_everything`: the
    cursor may list what is there (the files of a folder), so it grows with that. `covers_body`: the signature covers the
    body. `signed_inside`: where the JSON body carries its own signature (`proof.value`), "" for elsewhere; a body of another
    shape cannot be authentic then. `signs_time`: an old request is refused. `auth_headers`: what proves authenticity.
    `lifetime`: how long a subscription that was just made or renewed lasts, None if it does not expire.
    """

    signals_per_event: ClassVar[int] = 1
    many: ClassVar[int] = 7
    keeps_everything: ClassVar[bool] = False
    covers_body: ClassVar[bool] = True
    signed_inside: ClassVar[str] = ""
    signs_time: ClassVar[bool] = False
    auth_headers: ClassVar[tuple[str, ...]] = ()
    lifetime: ClassVar[timedelta | None] = None
    first_moment: ClassVar[datetime] = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def moment(self, number: int) -> datetime:
        """When event `number` happens: a minute after the one before."""
        return self.first_moment + timedelta(minutes=number)

    def happen(self, number: int) -> None:
        """The event takes place: from now on polls, fetches and backfills can see it."""

    def request(self, number: int) -> Request:
        """The vendor's authentic webhook call of the event."""
        raise AssertionError("this vendor sends no webhooks; do not inherit WebhookConformance")

    def sign(self, body: bytes) -> Request:
        """An authentic request with any body."""
        raise AssertionError("this vendor sends no webhooks; do not inherit WebhookConformance")

    def several(self, numbers: Sequence[int], wrong: Sequence[Any] = ()) -> Request | None:
        """One authentic request with these events and, after the first of them, the items `wrong`. None: this vendor sends one
        event a body. The default puts the items of `request(number)` into one JSON list."""
        items: list[Any] = []
        for number in numbers:
            body = json_or_none(self.request(number).body)
            if body is None:
                return None
            items += body if isinstance(body, list) else [body]
        return self.sign(json.dumps([*items[:1], *wrong, *items[1:]]).encode())

    def again(self, number: int, time: int) -> Request | None:
        """What event `number` is about (an email that is opened) happens for the `time`-th time, each time at another moment: the
        vendor's authentic call, always the same for the same time. None: its events are not counted."""
        return None

    @property
    def secrets(self) -> Sequence[str]:
        """What no message may show: signing secrets, tokens."""
        return ()

    def introduction(self, secret: str = "") -> Request | None:
        """The handshake by which the vendor gives the secret that it signs with; `secret`: a stranger's, with this one. None: the
        secret is in the configuration."""
        return None

    def happen_by(self, number: int, form: str) -> bool:
        """As `happen`, by someone who is known by one thing alone: `email`, `phone` or `handle`. False: cannot be."""
        return False

    def spoil(self, number: int) -> bool:
        """Event `number` takes place, and the list shows it as something that cannot be understood. False: cannot."""
        return False

    def forget_page_tokens(self) -> bool:
        """The vendor does not know the tokens of its list any more that it gave so far. False: it has none."""
        return False

    def forget_subscriptions(self) -> bool:
        """The vendor loses every subscription that was made by its API. False: this stand-in cannot."""
        return False

    def between_calls(self, act: Callable[[], None] | None) -> bool:
        """From now on `act` is called after each answer to the source, so also between two pages of the list; None ends that.
        False: this stand-in cannot."""
        return False

    def throttle(self) -> bool:
        """The next call to the vendor is throttled. False: this stand-in cannot."""
        return False

    def expire_token(self) -> bool:
        """The access token in use is refused from now on, a new one can be had. False: the source has no token."""
        return False

    def break_once(self) -> bool:
        """The next call (or the connection now open) fails on the wire. False: this stand-in cannot."""
        return False


class TwinVendor(Vendor):
    """A stand-in that is a running twin (`syncd.twins`): what the suites do to it is a planned fault. Its events happen around
    the real time, since a twin's Date header is that. A `FakeVendor` with a table `events` needs nothing more here: events,
    people, wrong items, forgotten page tokens and expired access tokens come from it, and lost webhooks if it has
    `subscriptions`.

    `throttling`, `breaking`: the faults, such as {"on": "list", "do": "too_many"}."""

    throttling: ClassVar[Mapping[str, Any]] = {"do": "too_many"}
    breaking: ClassVar[Mapping[str, Any]] = {"do": "cut"}

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.first_moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)  # type: ignore[misc]

    def event(self, number: int) -> dict[str, Any]:
        """Event `number` of the table as the API shows it, for the body of a webhook; whether it took place or not."""
        fake = _with_events(self.twin)
        if fake is None or fake.events is None:
            raise AssertionError("the stand-in has no table `events`")
        kept = fake.store.get(fake.events.object, str(fake.events.key(number)))
        made = fake.events.made(number, self.moment(number))
        return fake.shown(fake.events.object, kept if kept is not None else made)

    def happen(self, number: int) -> None:
        if (fake := _with_events(self.twin)) is not None:
            fake.happen(number, self.moment(number))

    def happen_by(self, number: int, form: str) -> bool:
        fake = _with_events(self.twin)
        if fake is None or fake.events is None or form not in fake.events.people:
            return False
        fake.happen(number, self.moment(number), form=form)
        return True

    def spoil(self, number: int) -> bool:
        if (fake := _with_events(self.twin)) is None:
            return False
        fake.happen(number, self.moment(number), spoilt=True)
        return True

    def forget_page_tokens(self) -> bool:
        if not isinstance(self.twin, FakeVendor):
            return False
        self.twin.expire_pages()
        return True

    def forget_subscriptions(self) -> bool:
        if not isinstance(self.twin, FakeVendor) or not self.twin.subscriptions:
            return False
        self.twin.forget_subscriptions()
        return True

    def between_calls(self, act: Callable[[], None] | None) -> bool:
        if not isinstance(self.twin, FakeVendor):
            return False
        self.twin.between_calls = act
        return True

    def expire_token(self) -> bool:
        if not isinstance(self.twin, FakeVendor) or not self.twin.tokens_made:
            return False  # a token of the configuration does not expire
        self.twin.expire_tokens()
        return True

    def throttle(self) -> bool:
        self.twin.plan.add([{"times": 1, **self.throttling}])
        return True

    def break_once(self) -> bool:
        self.twin.plan.add([{"times": 1, **self.breaking}])
        return True


def _with_events(twin: Twin) -> FakeVendor | None:
    return twin if isinstance(twin, FakeVendor) and twin.events is not None else None


def json_or_none(body: bytes) -> Any:
    """The value of a JSON body, None for anything else."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
