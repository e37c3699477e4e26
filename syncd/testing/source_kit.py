"""The conformance suites of sources. A test class inherits one for each thing its source can do, and hands in two fixtures:
`vendor` (a stand-in that makes events happen) and `connect` (builds the source afresh, as after a restart).

They check what the intake relies on: one id on all routes, nothing lost or doubled over restarts at any step, only
authentic requests let in, and no input that breaks a parser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from syncd.connector import (
    Backfillable,
    Batch,
    BulkHintSource,
    HintSource,
    PollingSource,
    Request,
    Verifier,
    WebhookSource,
)
from syncd.errors import Malformed, NotAuthentic, RateLimited, Transient
from syncd.signals import Signal
from syncd.testing import repeat_checks, secret_checks, sweep_checks
from syncd.testing.ledger import SourceLedger
from syncd.testing.suite import ConformanceSuite
from syncd.testing.time_zones import FAR_APART, zone_of_the_machine
from syncd.testing.vendor import Vendor, json_or_none
from syncd.testing.wrong_requests import WRONG_ITEMS, bodies, forgeries, spoilt_events, spoilt_members


class WebhookConformance(ConformanceSuite, covers=WebhookSource):
    """For sources that receive webhooks."""

    def test_an_authentic_request_brings_its_event_once(self, ledger: SourceLedger, vendor: Vendor) -> None:
        self.begin(ledger)
        for number in range(1, 4):
            vendor.happen(number)
        for number in (1, 2, 1, 3, 3):
            ledger.receive(vendor.request(number))
        self.settle(ledger)
        assert len(ledger.signals) == 3 * vendor.signals_per_event
        self.well_formed(list(ledger.signals.values()))

    def begin(self, ledger: SourceLedger) -> None:
        """A source whose webhooks only ask for a poll needs its cursor first."""
        if isinstance(self, PollingConformance):
            ledger.start()

    def settle(self, ledger: SourceLedger) -> list[Signal]:
        """What the intake does after a webhook: the poll that it asked for, and its hints."""
        new = ledger.poll() if ledger.poll_wanted else []
        return new + (ledger.fetch() if ledger.hints else [])

    def test_whoever_asks_for_a_poll_can_be_polled(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        source = ledger.connect()
        if source.parse(vendor.request(0)).poll_now:
            assert isinstance(source, PollingSource), (
                "Batch.poll_now of a source without poll: nothing would come of it"
            )

    def test_the_first_secret_counts(self, ledger: SourceLedger, vendor: Vendor) -> None:
        secret_checks.first_secret_counts(ledger, vendor)

    def test_no_message_shows_a_secret(
        self, ledger: SourceLedger, vendor: Vendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret_checks.no_message_shows_a_secret(ledger, vendor, caplog)

    def test_every_form_of_identity_is_kept(self, ledger: SourceLedger, vendor: Vendor) -> None:
        self.begin(ledger)

        def brought(number: int) -> list[Signal]:
            if vendor.signs_time:  # it arrives when it is signed
                ledger.now = vendor.first_moment
            return ledger.receive(vendor.request(number)) + self.settle(ledger)

        sweep_checks.forms_of_identity(ledger, vendor, brought)

    def test_events_of_one_thing_are_counted_once_each(self, ledger: SourceLedger, vendor: Vendor) -> None:
        repeat_checks.repeats_are_counted(ledger, vendor)

    def test_parsing_is_pure(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        request = vendor.request(0)
        first, second = (ledger.connect().parse(request) for _ in range(2))
        assert (first.signals, first.hints) == (second.signals, second.hints)

    def test_our_clock_is_not_part_of_the_id(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        request = vendor.request(0)
        later = replace(request, received_at=request.received_at + timedelta(minutes=4))
        one, other = (ledger.connect().parse(each) for each in (request, later))
        assert [signal.id for signal in one.signals] == [signal.id for signal in other.signals]
        assert [hint.key for hint in one.hints] == [hint.key for hint in other.hints]

    def test_the_time_zone_of_the_machine_does_not_matter(
        self, ledger: SourceLedger, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vendor.happen(0)
        request = vendor.request(0)
        read: list[list[object]] = []
        for zone in FAR_APART:
            with zone_of_the_machine(monkeypatch, zone):
                batch = ledger.connect().parse(request)
            read.append([*((one.id, one.occurred_at) for one in batch.signals), *(hint.key for hint in batch.hints)])
        assert read[0] == read[1], "ids or times depend on the time zone of the machine"

    def test_what_is_not_authentic_is_refused(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        request = vendor.request(0)
        verifier = ledger.connect().verifier()
        verifier(request, ledger.now)
        forged_ones = list(forgeries(request, vendor))
        assert forged_ones, (
            "name what proves that a request is authentic: Vendor.auth_headers, covers_body or Request.tail"
        )
        for what, forged in forged_ones:
            assert _refused(verifier, forged, ledger.now), f"accepted: {what}"

    def test_an_old_request_is_refused(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        verifier = ledger.connect().verifier()
        request = vendor.request(0)
        if vendor.signs_time:
            for skew in (timedelta(hours=1), timedelta(hours=-1)):
                with pytest.raises(NotAuthentic):
                    verifier(request, ledger.now + skew)
        else:
            verifier(request, ledger.now + timedelta(hours=1))

    @pytest.mark.parametrize("body", list(range(12)))
    def test_no_body_breaks_the_parser(self, ledger: SourceLedger, vendor: Vendor, body: int) -> None:
        request = vendor.sign(list(bodies())[body])
        source = ledger.connect()
        if vendor.signed_inside:
            with contextlib.suppress(NotAuthentic):
                source.verifier()(request, ledger.now)
        else:
            source.verifier()(request, ledger.now)
        try:
            batch = source.parse(request)
        except Malformed as error:
            assert str(error).strip(), "Malformed must say what and where"
            assert len(str(error)) < 1000, "a message for a person, not the body"
        else:
            assert isinstance(batch, Batch)
            self.well_formed(batch.signals)

    def test_a_wrong_event_harms_no_other(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for number in (0, 1):
            vendor.happen(number)
        source = ledger.connect()
        good = _brought(source.parse(vendor.request(0))) | _brought(source.parse(vendor.request(1)))
        plain = vendor.several((0, 1))
        if plain is None or not self.takes_several(source, vendor, plain, good):
            return
        for wrong in (*WRONG_ITEMS, *spoilt_events(plain)):
            request = vendor.several((0, 1), [wrong])
            assert request is not None
            try:
                batch = source.parse(request)
            except Exception as error:
                raise AssertionError(f"{wrong!r:.200} beside two events spoils the body: {error!r:.300}") from error
            assert good <= _brought(batch), f"{wrong!r:.200} beside two events takes one of them along"
            if wrong in WRONG_ITEMS:
                seen = batch.misfits or batch.dropped or _brought(batch) > good
                assert seen, f"{wrong!r:.200} is gone without a trace"
            for misfit in batch.misfits:
                assert misfit.reason.strip(), "a misfit must say what and where"
                with contextlib.suppress(Malformed):  # as a retry from quarantine reads it
                    source.parse(misfit.request)

    def test_the_order_of_events_does_not_matter(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for number in (0, 1):
            vendor.happen(number)
        forwards, backwards = (
            [_brought(source.parse(vendor.request(number))) for number in order]
            for source, order in ((ledger.connect(), (0, 1)), (ledger.connect(), (1, 0)))
        )
        assert forwards == backwards[::-1], "what an event brings depends on the events before it"

    def test_a_thousand_events_of_one_body_bring_what_each_brings(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for number in (0, 1):
            vendor.happen(number)
        source = ledger.connect()
        good = _brought(source.parse(vendor.request(0))) | _brought(source.parse(vendor.request(1)))
        plain = vendor.several((0, 1))
        if plain is not None and self.takes_several(source, vendor, plain, good):
            thousand = vendor.several((0, 1) * 500)
            assert thousand is not None
            source.verifier()(thousand, ledger.now)
            assert _brought(source.parse(thousand)) == good

    def test_a_spoilt_event_is_understood_or_malformed(self, ledger: SourceLedger, vendor: Vendor) -> None:
        """A new event type, a member that is missing or of another type: never an error of the parser."""
        vendor.happen(0)
        request = vendor.request(0)
        for spoilt in spoilt_members(request):
            source = ledger.connect()
            try:
                batch = source.parse(replace(request, body=spoilt))
            except Malformed:
                continue
            except Exception as error:
                raise AssertionError(f"{spoilt[:300]!r} breaks the parser: {error!r:.300}") from error
            self.well_formed(batch.signals)

    def takes_several(self, source: Any, vendor: Vendor, plain: Request, good: set[str]) -> bool:
        """Whether the source reads several events of one body. If the vendor sends lists, it must."""
        try:
            if _brought(source.parse(plain)) == good:
                return True
        except Malformed:
            pass
        sends_lists = (
            isinstance(json_or_none(vendor.request(0).body), list) or type(vendor).several is not Vendor.several
        )
        assert not sends_lists, "two events in one body do not bring what each brings alone"
        return False

    def test_probes_without_an_event_are_answered(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for method in ("GET", "HEAD", "OPTIONS"):
            probe = replace(vendor.sign(b""), method=method, body=b"", headers={}, query=())
            reply = ledger.connect().handshake(probe)
            assert reply is None or 200 <= reply.status < 500


def _refused(verifier: Verifier, request: Request, now: datetime) -> bool:
    try:
        verifier(request, now)
    except NotAuthentic:
        return True
    return False


def _brought(batch: Batch) -> set[str]:
    asked = {"poll"} if batch.poll_now else set()
    return {str(signal.id) for signal in batch.signals} | {f"hint {hint.key}" for hint in batch.hints} | asked


class PollingConformance(ConformanceSuite, covers=PollingSource):
    """For sources that are polled."""

    def test_a_new_source_starts_at_now(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        ledger.now = vendor.moment(1)
        ledger.start()
        assert self.polled(ledger) == []

    def test_everything_after_the_start_is_seen_once(self, ledger: SourceLedger, vendor: Vendor) -> None:
        ledger.start()
        seen: list[UUID] = []
        for number in range(1, 4):
            vendor.happen(number)
            ledger.now = vendor.moment(number) + timedelta(hours=1)
            seen += [signal.id for signal in self.polled(ledger)]
        assert len(seen) == len(set(seen)) == 3 * vendor.signals_per_event
        assert self.polled(ledger) == []
        self.well_formed(list(ledger.signals.values()))

    def test_pages_are_all_read(self, ledger: SourceLedger, vendor: Vendor) -> None:
        self.many(ledger, vendor)
        assert len(self.polled(ledger)) == vendor.many * vendor.signals_per_event
        assert all(state is not None for state in ledger.states), "each batch carries its state"

    def test_death_between_any_two_batches_loses_nothing(self, ledger: SourceLedger, vendor: Vendor) -> None:
        self.many(ledger, vendor)
        assert len(self.polled(ledger, restart=True)) == vendor.many * vendor.signals_per_event

    def test_a_batch_that_was_not_committed_comes_again(self, ledger: SourceLedger, vendor: Vendor) -> None:
        self.many(ledger, vendor)
        assert ledger.state is not None
        next(iter(ledger.connect().poll(ledger.state, ledger.now)), None)
        assert len(self.polled(ledger)) == vendor.many * vendor.signals_per_event

    def test_our_clock_may_be_wrong(self, ledger: SourceLedger, vendor: Vendor) -> None:
        ledger.start()
        for number, skew in ((1, timedelta(hours=1)), (2, timedelta(minutes=-50)), (3, timedelta(0))):
            vendor.happen(number)
            ledger.now = vendor.moment(number) + skew
            self.polled(ledger)
        ledger.now = vendor.moment(4) + timedelta(hours=2)
        self.polled(ledger)
        assert len(ledger.signals) == 3 * vendor.signals_per_event

    def test_the_time_zone_of_the_machine_does_not_matter_to_a_poll(
        self, ledger: SourceLedger, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with zone_of_the_machine(monkeypatch, FAR_APART[0]):
            self.many(ledger, vendor)
            assert len(self.polled(ledger)) == vendor.many * vendor.signals_per_event
        near = timedelta(hours=6)
        for signal in ledger.signals.values():
            assert vendor.first_moment - near < signal.occurred_at < ledger.now + near, (
                f"a time depends on the time zone of the machine: {signal.occurred_at}"
            )

    def test_trouble_at_the_vendor_only_delays(
        self, ledger: SourceLedger, vendor: Vendor, record_property: Callable[[str, object], None]
    ) -> None:
        self.many(ledger, vendor)
        for trouble, allowed in (
            (vendor.throttle, (RateLimited,)),
            (vendor.break_once, (Transient, RateLimited)),
            (vendor.expire_token, ()),
        ):
            if trouble():
                record_property("trouble", trouble.__name__)
                with contextlib.suppress(*allowed):
                    self.polled(ledger)
        self.polled(ledger)
        assert len(ledger.signals) == vendor.many * vendor.signals_per_event

    def test_a_forgotten_page_token_loses_nothing(self, ledger: SourceLedger, vendor: Vendor) -> None:
        sweep_checks.forgotten_page_token(ledger, vendor, lambda: self.polled(ledger))

    def test_a_page_token_forgotten_in_a_sweep_loses_nothing(self, ledger: SourceLedger, vendor: Vendor) -> None:
        sweep_checks.page_token_forgotten_in_a_sweep(ledger, vendor, lambda: self.polled(ledger))

    def test_events_that_appear_during_a_sweep_are_read(self, ledger: SourceLedger, vendor: Vendor) -> None:
        sweep_checks.events_during_a_sweep(ledger, vendor, lambda: self.polled(ledger))

    def test_the_cursor_does_not_grow(self, ledger: SourceLedger, vendor: Vendor) -> None:
        sweep_checks.bounded_cursor(ledger, vendor, lambda: self.polled(ledger))

    def test_a_wrong_item_of_the_list_harms_no_other(self, ledger: SourceLedger, vendor: Vendor) -> None:
        sweep_checks.wrong_item(ledger, vendor, lambda: self.polled(ledger))

    def test_every_form_of_identity_is_polled(self, ledger: SourceLedger, vendor: Vendor) -> None:
        ledger.start()
        sweep_checks.forms_of_identity(ledger, vendor, lambda number: self.polled(ledger))

    def many(self, ledger: SourceLedger, vendor: Vendor) -> None:
        ledger.start()
        for number in range(1, vendor.many + 1):
            vendor.happen(number)
        ledger.now = vendor.moment(vendor.many) + timedelta(hours=1)

    def polled(self, ledger: SourceLedger, *, restart: bool = False) -> list[Signal]:
        """What a poll brings, with what its hints bring."""
        return ledger.poll(restart=restart) + (ledger.fetch(patience=timedelta(hours=2)) if ledger.hints else [])


class HintConformance(ConformanceSuite, covers=HintSource):
    """For sources whose hints are fetched."""

    def test_a_hint_answered_twice_makes_one_signal(self, ledger: SourceLedger, vendor: Vendor) -> None:
        vendor.happen(0)
        for _ in range(2):
            ledger.receive(vendor.request(0)) if isinstance(self, WebhookConformance) else None
            ledger.fetch()
        assert len(ledger.signals) <= vendor.signals_per_event

    def test_a_hint_on_something_that_is_gone_ends(self, ledger: SourceLedger, vendor: Vendor) -> None:
        if isinstance(self, WebhookConformance):
            ledger.receive(vendor.request(0))  # announced, and never to be found
            ledger.fetch()
            assert not [hint for hint in ledger.hints.values() if (hint.not_before or ledger.now) <= ledger.now]

    def test_several_hints_are_answered_as_each_alone(self, ledger: SourceLedger, vendor: Vendor) -> None:
        source = ledger.connect()
        if not isinstance(source, BulkHintSource):
            return
        for number in range(4):
            vendor.happen(number)
            if isinstance(self, WebhookConformance):
                ledger.receive(vendor.request(number))
        ledger.now = vendor.moment(4) + timedelta(hours=2)
        if isinstance(self, PollingConformance):
            ledger.state = ledger.state or ledger.connect().start(vendor.first_moment - timedelta(hours=1))
            ledger.poll()
        hints = [*ledger.hints.values()][: source.hints_at_once]
        answers = source.fetch_many(hints, ledger.now)
        assert len(answers) == len(hints), "fetch_many must answer every hint, in their order"
        for hint, answer in zip(hints, answers, strict=True):
            alone = source.fetch(hint, ledger.now)
            assert _outcome_of(answer) == _outcome_of(alone), f"fetch_many answers {hint.key} unlike fetch"


def _outcome_of(answer: object) -> object:
    return _brought(answer) if isinstance(answer, Batch) else type(answer)


class BackfillConformance(ConformanceSuite, covers=Backfillable):
    """For sources that can fetch the past."""

    def test_the_range_is_kept(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for number in range(6):
            vendor.happen(number)
        got = self.filled(ledger, vendor.moment(2), vendor.moment(4))
        assert len(got) == 2 * vendor.signals_per_event, [signal.occurred_at for signal in got]
        self.well_formed(got)

    def test_a_stopped_backfill_goes_on(self, ledger: SourceLedger, vendor: Vendor) -> None:
        for number in range(1, vendor.many + 1):
            vendor.happen(number)
        got = self.filled(ledger, vendor.moment(1), vendor.moment(vendor.many + 1), restart=True)
        assert len(got) == vendor.many * vendor.signals_per_event

    def test_one_event_has_one_id_on_all_routes(self, ledger: SourceLedger, vendor: Vendor) -> None:
        if isinstance(self, PollingConformance):
            ledger.start()
        vendor.happen(1)
        if isinstance(self, WebhookConformance):
            ledger.receive(vendor.request(1))
            self.settle(ledger)
            assert len(ledger.signals) == vendor.signals_per_event
        ledger.now = vendor.moment(1) + timedelta(hours=1)
        if isinstance(self, PollingConformance):
            ledger.poll()
            if ledger.hints:
                ledger.fetch(patience=timedelta(hours=2))
        self.filled(ledger, vendor.moment(0), vendor.moment(2))
        assert len(ledger.signals) == vendor.signals_per_event

    def filled(self, ledger: SourceLedger, since: datetime, until: datetime, *, restart: bool = False) -> list[Signal]:
        ledger.now = max(ledger.now, until)
        got = ledger.backfill(since, until, restart=restart)
        return got + (ledger.fetch(patience=timedelta(hours=2)) if ledger.hints else [])
