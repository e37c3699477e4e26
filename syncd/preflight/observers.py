"""The rules that change observers, against the CRM: whether its records can have them, and the users that the mapping names."""

from __future__ import annotations

from collections.abc import Iterator

from syncd.capabilities import Assigns, Converts, Level, Observes
from syncd.errors import Failure
from syncd.mapping.accounts_reader import objects_of_companies
from syncd.mapping.against import Remark
from syncd.mapping.model import About
from syncd.mapping.parts import MappingParts
from syncd.mapping.uses import observers_of, people_objects, users_observing
from syncd.preflight.lines import CheckLine
from syncd.service.assembly import BuiltDestination


def observers(outlet: BuiltDestination, crm: Observes) -> Iterator[CheckLine]:
    """A call or two for each kind of record, and one for the users."""
    name, parts = outlet.settings.name, outlet.mapping.parts
    asked: dict[tuple[str, ...], set[tuple[str, bool]]] = {}
    for rule, part, _ in observers_of(parts):
        objects = _observed(parts, rule.about, outlet.destination)
        asked.setdefault(objects, set()).add((part.field, part.chat))
    for objects, fields in asked.items():
        for field, chat in sorted(fields) if objects else ():
            found = crm.may_observe(objects, field, chat=chat)
            yield from (CheckLine.of("destination", name, finding) for finding in found)
    yield from _users(outlet, crm)


def _observed(parts: MappingParts, about: About, crm: object) -> tuple[str, ...]:
    """The objects whose records a rule changes the observers of."""
    if about is About.ACCOUNT:
        return tuple(objects_of_companies(parts.accounts)) if parts.accounts else ()
    if about is About.DEAL:
        return (crm.conversions.deals,) if isinstance(crm, Converts) else ()
    return people_objects(parts)


def _users(outlet: BuiltDestination, crm: Observes) -> Iterator[CheckLine]:
    """The users that `add:` and `remove:` name."""
    name, document = outlet.settings.name, outlet.mapping.document
    places = [
        (user, place)
        for _, part, whole in observers_of(outlet.mapping.parts)
        if crm.observed_by_users(part.field)
        for user, place in users_observing(part, whole)
    ]
    destination = outlet.destination
    if not places or not isinstance(destination, Assigns):
        return
    try:
        active = destination.users(list(dict.fromkeys(user for user, _ in places)))
    except Failure as failed:
        remedy = "until then they all count as active"
        yield CheckLine("destination", name, Level.WARNING, "observing users", f"cannot be looked up: {failed}", remedy)
        return
    wrong = [(user, place) for user, place in places if not active.get(user, True) and place[-2] == "add"]
    for user, place in wrong:
        message = f"the CRM has no active user {user}: nobody is added for them"
        fault = document.fault(place, message, "correct the id, or activate the user in the CRM")
        yield CheckLine.at(name, Remark(Level.WARNING, fault))
    if not wrong:
        yield CheckLine("destination", name, Level.OK, "observing users", "the users named by observe: are active")
