"""What becomes of single records of a bundle after the CRM has answered: those of which it does not tell the id, and rights that
are missing for some. Pure but for the look-up handed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from syncd.connector import Outcome, Write, Written
from syncd.connectors.answers import together
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.sending import Settled
from syncd.errors import Failure, Misconfigured, Rejected, Scope, Transient

Find = Callable[[str, str, Sequence[str]], Mapping[str, str]]
"""object, key field, keys -> the id of each key that is there, as `Destination.find`. Raises a Failure."""


class LookUp(Transient):
    """A duplicate whose field the CRM does not name: whether it is our own key is looked up. `otherwise`: it is not."""

    def __init__(self, message: str, *, code: str, otherwise: Failure) -> None:
        super().__init__(message, code=code)
        self.otherwise = otherwise


def written_or(meant: Sequence[Outcome]) -> Outcome:
    """What several errors of one row amount to: one that says that the record is there counts before all that it lacks."""
    there = [one for one in meant if isinstance(one, Written)]
    return there[0] if there else together([one for one in meant if isinstance(one, Failure)])


def name_written(target: Target, writes: Sequence[Write], settled: Settled, find: Find, *, code: str) -> None:
    """Looks up, by our key, records that are there already without knowing their id (Written without one), and those that may be
    (`LookUp`). Those that are not found, or all where the look-up fails, are sent again; `code`: of that failure."""
    nameless = [place for place, one in settled.items() if isinstance(one, LookUp) or _nameless(one)]
    if not nameless:
        return
    why = f"it is there already, but is not found by {target.key_field}"
    try:
        ids = find(target.object, target.key_field, [writes[place].key for place in nameless])
    except Failure as failed:
        why = f"it is there already; its id could not be looked up: {failed}"
        settled.update((place, Transient(why, code=code)) for place in nameless)
        return
    for place in nameless:
        settled[place] = _named(settled[place], ids.get(writes[place].key, ""), Transient(why, code=code))


def _nameless(one: Outcome) -> bool:
    return isinstance(one, Written) and not one.id


def _named(before: Outcome, id: str, absent: Failure) -> Outcome:
    if id:
        return Written(id, created=False)
    return before.otherwise if isinstance(before, LookUp) else absent


def narrow_rights(target: Target, settled: Settled, codes: Collection[str]) -> None:
    """A right that is missing for some records must not stop the others: when it is one record's (an update, or others of the
    bundle were written) that record is refused, else the rule is held. `codes`: of a refused right that, said of a row, speaks
    of its record or object only."""
    single = target.method is Method.UPDATE or any(isinstance(one, Written) for one in settled.values())
    for place, one in settled.items():
        if isinstance(one, Misconfigured) and one.code in codes:
            held = Misconfigured(one.message, code=one.code, scope=Scope.RULE)
            settled[place] = Rejected(one.message, code=one.code) if single else held
