"""What the conformance suites check of whoever reads a vendor's list, and of the people in what was read. The suites call it.

Each check says, when it fails, what a source probably does wrong. A vendor's stand-in that cannot bring a situation about
(`Vendor` says so) is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from syncd.errors import RateLimited, Transient
from syncd.identity.emails import normal_email
from syncd.signals import Person, Signal
from syncd.testing.ledger import SourceLedger
from syncd.testing.vendor import Vendor

Polled = Callable[[], Sequence[Signal]]
ROUND = 30
BYTES_AN_EVENT = 3
"""So much may a cursor grow for each event: less than any id needs, more than counters and times ever do."""
FORMS = ("email", "phone", "handle")
_E164 = re.compile(r"\+[1-9]\d{5,14}")
_HANDLE = re.compile(r"handle:[a-z0-9][a-z0-9._-]*:\S(.*\S)?")


def forgotten_page_token(ledger: SourceLedger, vendor: Vendor, polled: Polled) -> None:
    """A token that the vendor does not know any more is no reason to fail, nor to skip what came meanwhile."""
    ledger.start()
    _happen(ledger, vendor, range(1, 4))
    polled()
    _happen(ledger, vendor, range(4, 7))
    if not vendor.forget_page_tokens():
        return
    try:
        polled()
    except (Transient, RateLimited):  # once; the next poll must find its way
        polled()
    except Exception as error:
        raise AssertionError(
            f"the vendor forgot the token of its list, and the poll fails: {error!r:.300}; read again from a time that the "
            "cursor keeps beside the token"
        ) from error
    polled()
    assert len(ledger.signals) == 6 * vendor.signals_per_event, (
        "events that came before the vendor forgot the token of its list were never read: do not start at now again"
    )


def page_token_forgotten_in_a_sweep(ledger: SourceLedger, vendor: Vendor, polled: Polled) -> None:
    """A token of the next page that the vendor forgets before it is used delays the rest of the list by one poll at most."""
    ledger.start()
    _happen(ledger, vendor, range(1, vendor.many + 1))
    forgets = iter((vendor.forget_page_tokens,))

    def forget() -> None:
        next(forgets, lambda: False)()

    if not vendor.between_calls(forget):
        return
    try:
        polled()
    except (Transient, RateLimited):
        polled()
    except Exception as error:
        raise AssertionError(
            f"the vendor forgot the token of the next page, and the poll fails: {error!r:.300}; read the list again"
        ) from error
    finally:
        vendor.between_calls(None)
    polled()
    assert len(ledger.signals) == vendor.many * vendor.signals_per_event, (
        "events behind a page whose token the vendor forgot were never read: the cursor must not go beyond what was read"
    )


def events_during_a_sweep(ledger: SourceLedger, vendor: Vendor, polled: Polled) -> None:
    """What appears while the pages are read is read by this poll or the next; nothing that was there is skipped."""
    ledger.start()
    many = vendor.many
    _happen(ledger, vendor, range(1, many + 1))
    ledger.now = vendor.moment(2 * many + 3) + timedelta(hours=1)
    late = iter(range(many + 1, 2 * many + 1))

    happened: list[int] = []

    def another() -> None:
        number = next(late, None)
        if number is not None:
            vendor.happen(number)
            happened.append(number)

    if vendor.between_calls(another):
        polled()
        vendor.between_calls(None)
    else:
        ledger.poll(between=another)
    another()
    polled()
    polled()
    expected = (many + len(happened)) * vendor.signals_per_event
    assert len(ledger.signals) == expected, (
        f"{expected - len(ledger.signals)} of {expected} events were never read: they appeared while the pages were read; the "
        "cursor must follow what was read, not the newest there was (of a list that is newest first: only at its end)"
    )


def bounded_cursor(ledger: SourceLedger, vendor: Vendor, polled: Polled) -> None:
    """A cursor that keeps every id it has seen grows for years."""
    if vendor.keeps_everything:
        return
    ledger.start()
    sizes = []
    for first in range(1, 4 * ROUND, ROUND):
        _happen(ledger, vendor, range(first, first + ROUND))
        polled()
        sizes.append(len(ledger.state or b""))
    grown = sizes[-1] - sizes[1]
    assert grown <= 2 * ROUND * BYTES_AN_EVENT, (
        f"the cursor grew by {grown} bytes over {2 * ROUND} events ({sizes}): keep only ids that the next poll may see again"
    )


def wrong_item(ledger: SourceLedger, vendor: Vendor, polled: Polled) -> None:
    """One item of the list that cannot be understood harms no other, and leaves a trace."""
    ledger.start()
    vendor.happen(1)
    if not vendor.spoil(2):
        return
    _happen(ledger, vendor, [3])
    try:
        for _ in range(2):
            polled()
    except Exception as error:
        raise AssertionError(
            f"an item that cannot be understood ends the poll: {error!r:.300}; put it into Batch.misfits and read on"
        ) from error
    assert len(ledger.signals) == 2 * vendor.signals_per_event, "the neighbours of a wrong item were not read"
    assert ledger.misfits or ledger.dropped, (
        "a wrong item is gone without a trace: put it into Batch.misfits or dropped"
    )


def forms_of_identity(ledger: SourceLedger, vendor: Vendor, brought: Callable[[int], Sequence[Signal]]) -> None:
    """Whoever is known by an address, a number or a handle alone has an identity of that form."""
    for number, form in enumerate(FORMS, start=1):
        if not vendor.happen_by(number, form):
            continue
        ledger.now = vendor.moment(number) + timedelta(hours=1)
        signals = brought(number)
        assert signals, f"an event of someone known by {form} alone brings nothing"
        for signal in signals:
            kinds = [identity.partition(":")[0] for identity in signal.person.identities]
            assert kinds == [form], f"someone known by {form} alone is known by {kinds or 'nothing'}"


def faults_of(person: Person) -> Iterator[str]:
    """What is not in normal form: it would be another person than the same one by another source."""
    if person.email and normal_email(person.email) != person.email:
        yield f"email {person.email!r}: not in normal form; use make_person"
    if person.phone and not _E164.fullmatch(person.phone):
        yield f"phone {person.phone!r}: not E.164; use make_person, which keeps what cannot be read in raw"
    for identity in person.identities:
        if identity.startswith("handle:") and not _HANDLE.fullmatch(identity):
            yield f"{identity!r}: a handle is NETWORK (lower case) and an id without blanks around it"


def _happen(ledger: SourceLedger, vendor: Vendor, numbers: Sequence[int]) -> None:
    for number in numbers:
        vendor.happen(number)
    ledger.now = max(ledger.now, vendor.moment(max(numbers)) + timedelta(hours=1))
