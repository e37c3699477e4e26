"""Sends the bundles of a call, so that a bad record harms only itself: a bundle that is refused as a whole because of some of its
records is sent again without them, in smaller bundles. Pure but for the function that performs a call.

A CRM's `send` gives `send_bundles` a function that performs bundles and says of each what is settled and what to try again;
`blame` decides that for a refusal of the whole bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from syncd.connector import Outcome
from syncd.connectors.crm.packing import Bundle, Packed
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    Transient,
)

Settled = dict[int, Outcome]
"""Place in Call.writes -> what became of it."""
Answered = tuple[Settled, Sequence[Bundle]]
"""What is settled of a bundle, and smaller ones with the rest of it."""


def send_bundles(
    packed: Packed, perform: Callable[[Sequence[Bundle]], Iterable[Answered]], *, per_call: int = 1
) -> Settled:
    """Outcomes of every write. `perform` makes one call of at most `per_call` bundles. A Failure that it raises for the first
    call is raised; later ones concern their records alone, since what the first call settled stays settled."""
    outcomes: Settled = dict(packed.refused)
    suspects: list[Bundle] = []

    def take(answered: Iterable[Answered]) -> None:
        for settled, again in answered:
            outcomes.update(settled)
            suspects.extend(again)

    if packed.bundles:
        take(perform(packed.bundles))
    while suspects:
        now = suspects[:per_call]
        del suspects[:per_call]
        try:
            take(perform(now))
        except Failure as failed:
            failed.about_call()
            outcomes.update((row, failed) for bundle in now for row in bundle.rows)
    return outcomes


def blame(bundle: Bundle, meant: Failure, *, parts: int, sure: bool = False) -> Answered:
    """A bundle refused as a whole wrote nothing. Where records can be to blame, those that have the field named are blamed and
    the others tried again; where none is named, records with the same fields are tried together (a fault of a rule), or `parts`
    of the bundle. `sure`: the fault is everybody's unless some records have the field named."""
    blameable = isinstance(meant, Rejected | Misconfigured) and getattr(meant, "scope", Scope.RULE) is Scope.RULE
    count = len(bundle.rows)
    if not blameable or count == 1:
        return dict.fromkeys(bundle.rows, meant), ()
    name = str(getattr(meant, "field", "")).lower()
    if name and name != bundle.target.key_field.lower():
        having = [any(key.lower() == name for key in record) for record in bundle.records]
        if any(having):
            rest = [place for place, has in enumerate(having) if not has]
            blamed: Settled = {bundle.rows[place]: meant for place, has in enumerate(having) if has}
            return blamed, [bundle.only(rest)] if rest else ()
    if not isinstance(meant, Misconfigured):
        step = -(-count // parts)
        return {}, [bundle.only(range(start, min(start + step, count))) for start in range(0, count, step)]
    shapes: dict[frozenset[str], list[int]] = {}
    for place, record in enumerate(bundle.records):
        shapes.setdefault(frozenset(record), []).append(place)
    if len(shapes) == 1 or sure:
        return dict.fromkeys(bundle.rows, meant), ()
    return {}, [bundle.only(places) for places in shapes.values()]


OF_ALL = (RateLimited, QuotaExhausted, AuthExpired, Transient, Ambiguous)
"""Failures of a call after which the next one is not made."""
NOT_MADE = "it was not sent: the call before it failed"


def one_by_one(bundle: Bundle, act: Callable[[int, dict[str, Any]], Outcome]) -> Settled:
    """What became of each record, where one takes calls of its own. `act`: makes them for a place and its record, and returns or
    raises what they came to. After a call that failed the rest is not sent."""
    settled: Settled = {}
    stopped: Failure | None = None
    for place, record in zip(bundle.rows, bundle.records, strict=True):
        if stopped is not None:
            settled[place] = Transient(f"{NOT_MADE}: {stopped}", code=stopped.code).about_call()
            continue
        try:
            settled[place] = act(place, record)
        except Failure as failed:
            settled[place] = failed
            stopped = failed if isinstance(failed, OF_ALL) else None
    return settled


def raise_if_all(outcomes: Mapping[int, Outcome]) -> None:
    """Raises a limit that struck every row: it concerns the whole call."""
    kinds = {type(outcome) for outcome in outcomes.values()}
    if len(kinds) == 1 and kinds <= {RateLimited, QuotaExhausted}:
        worst = next(iter(outcomes.values()))
        if isinstance(worst, Failure):
            raise worst
