"""A mapping's own tests, written in YAML beside it (`salesforce.tests.yaml`), run by `syncd mapping test`.

    - name: A missed call is logged, and needs a call back
      signal: {type: call.missed, title: Missed call, person: {phone: "+84912345678"}}   # what is left out has a default
      known: {object: Contact, id: "003000000000001"}       # the person's record; or stranger (the default)
      company: {object: Account, id: "001000000000001"}     # the company's record; or stranger (the default)
      live: true                                            # the default
      act: {follow-up: {Subject: Ring Ann}}                 # rules that a user sets off, with what they give
      answered: false                                       # the default; true: one of us has answered since
      expect:
        timeline: {object: Task, fields: {Subject: Missed call}, links: {WhoId: person}}
        callback: {fields: {ActivityDate: 2026-01-16}}      # only the fields named are compared, unless exact: true
        chat: {fields: {Subject: {contains: An}}}           # a text (or all of several) that must stand in it
        people.create: nothing                              # or {skipped: live_only}

Pure: texts in, results out. Times and dates are compared as ISO 8601 text.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from syncd import registry
from syncd.config.yaml_positions import Document, KeyPath, read_yaml
from syncd.connector import Link, PersonMatch
from syncd.errors import ConfigError, Fault
from syncd.mapping.accounts import ACCOUNTS_CREATE, ACCOUNTS_PARENT
from syncd.mapping.filters import moment
from syncd.mapping.language import PEOPLE_CREATE
from syncd.mapping.loading import Mapping, read_source
from syncd.mapping.preview import Previewed, preview
from syncd.mapping.reader import unknown_keys
from syncd.mapping.shipped import tests_beside
from syncd.mapping.values import ValueFault
from syncd.signals import NAMESPACE, Direction, Person, Route, Signal, make_person, place_of

CASE_KEYS = ("name", "signal", "known", "company", "live", "act", "answered", "expect")
SIGNAL_KEYS = (
    *("type", "source", "occurred_at", "received_at", "title", "text", "url", "reply", "person", "data", "thread"),
    *("id", "route", "direction", "title_code", "title_parameters"),
)
PERSON_KEYS = ("name", "first_name", "last_name", "email", "phone", "company", "handles", "raw")
KNOWN_KEYS = ("object", "id", "role", "account", "deal")
LINK_KEYS = ("object", "id")
NOTES = {
    "fields": "",
    "fill": "if empty",
    "add": "added",
    "remove": "removed",
    "only_if": "must be",
    "on_create": "on create",
    "links": "link",
}
"""What a case calls a group of fields: the note that preview gives them."""
RECORD_KEYS = ("object", *NOTES, "clear", "faults", "skipped", "exact")
STRANGER, NOTHING, CONTAINS = "stranger", "nothing", "contains"
LONG = 60
"""Characters from which on the place where two texts differ is shown."""
__all__ = ["Case", "CaseResult", "run_tests", "sample_signal", "tests_beside"]
DAY = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
"""When a signal of a test happened, unless it says so: Thursday, 15 January 2026, 09:00 UTC."""


@dataclass(frozen=True)
class CaseResult:
    """`differences` are faults with the place of the expectation that does not hold; empty when the case passed."""

    name: str
    line: int
    differences: tuple[Fault, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True)
class Case:
    name: str
    place: KeyPath
    signal: Signal
    known: PersonMatch | None
    live: bool
    act: dict[str, dict[str, Any]]
    expect: dict[str, Any]
    company: Link | None = None
    answered: bool = False


def run_tests(mapping: Mapping, source: Path | Traversable | str, *, name: str = "") -> list[CaseResult]:
    """Runs every case against the mapping. Raises ConfigError for tests that are not written right, with every fault."""
    text, place = read_source(source)
    document = read_yaml(text, name or place)
    rules = [*(rule.id for rule in mapping.parts.rules), PEOPLE_CREATE, ACCOUNTS_CREATE, ACCOUNTS_PARENT]
    cases = _TestFileReader(document, mapping.region, rules).cases(document.data)
    return [_run(mapping, document, case) for case in cases]


def sample_signal(document: Document, file: str = "", *, region: str | None = None) -> Signal:
    """A signal to try mappings on: a document with the keys of a case's `signal:` (those of `signals show --json`; all
    but `type` have a default). Raises ConfigError with every fault; `file` is named where the document names none."""
    reading = _TestFileReader(document, region)
    signal = reading.signal(document.data, ())
    if reading.faults or signal is None:
        raise ConfigError(reading.faults or [Fault(document.file or file, 1, 1, "", "must be a signal")])
    return signal


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass
class _TestFileReader:
    document: Document
    region: str | None
    rules: Sequence[str] = ()
    faults: list[Fault] = field(default_factory=list)

    def cases(self, node: Any) -> list[Case]:
        if not isinstance(node, list):
            raise ConfigError([self.document.fault((), "must be a list of cases, each with signal: and expect:")])
        found = [self.case(entry, (index,)) for index, entry in enumerate(node)]
        if self.faults:
            raise ConfigError(self.faults)
        return [case for case in found if case is not None]

    def case(self, node: Any, path: KeyPath) -> Case | None:
        parts = self.keys(node, path, CASE_KEYS, ("name", "signal", "expect"))
        if not {"name", "signal", "expect"} <= parts.keys():
            return None
        signal = self.signal(parts["signal"], (*path, "signal"))
        known = self.known(parts.get("known", STRANGER), (*path, "known"))
        company = parts.get("company", STRANGER)
        account = None if company == STRANGER else self.link(company, (*path, "company"), "Account")
        live = parts.get("live", True)
        if not isinstance(live, bool):
            self.fault((*path, "live"), "must be true or false")
        answered = parts.get("answered", False)
        if not isinstance(answered, bool):
            self.fault((*path, "answered"), "must be true or false")
        act = self.act(parts.get("act", {}), (*path, "act"))
        expect = self.expect(parts["expect"], (*path, "expect"))
        if signal is None:
            return None
        return Case(str(parts["name"]), path, signal, known, live is True, act, expect, account, answered is True)

    def fault(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.faults.append(self.document.fault(path, message, hint))

    def keys(self, node: Any, path: KeyPath, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Any]:
        known = tuple(known)
        if not isinstance(node, dict):
            self.fault(path, f"must be keys and values ({', '.join(known)})")
            return {}
        for key, hint in unknown_keys(node, known):
            self.fault((*path, key), "unknown key", hint)
        for key in needed:
            if key not in node:
                self.fault(path, f"the key {key} is required here")
        return node

    def signal(self, node: Any, path: KeyPath) -> Signal | None:
        parts = self.keys(node, path, SIGNAL_KEYS, ("type",))
        kind = parts.get("type", "")
        try:
            registry.fitting_types(
                str(kind)
            )  # a type that an installed connector declares is known once that is loaded
            place_of(str(kind))
        except ValueError as error:
            if "type" in parts:
                self.fault((*path, "type"), str(error))
            return None
        occurred = self.moment(parts, path, "occurred_at", DAY)
        words = {
            key: str(parts[key]) for key in ("source", "title", "text", "url", "reply", "thread") if parts.get(key)
        }
        route = parts.get("route", Route.WEBHOOK)
        data = parts.get("data") or {}
        said = parts.get("title_parameters") or {}
        for key, value in (("data", data), ("title_parameters", said)):
            if not isinstance(value, dict):
                self.fault((*path, key), "must be keys and values")
                return None
        if route not in tuple(Route):
            self.fault((*path, "route"), f"must be one of {', '.join(Route)}")
            return None
        direction = parts.get("direction", Direction.IN)
        if direction not in tuple(Direction):
            self.fault((*path, "direction"), f"must be one of {', '.join(Direction)}")
            return None
        return Signal(
            id=self.identifier(parts, path),
            type=str(kind),
            source=words.pop("source", "test"),
            occurred_at=occurred,
            received_at=self.moment(parts, path, "received_at", occurred),
            title=words.pop("title", f"A test of {kind}"),
            person=self.person(parts.get("person") or {}, (*path, "person")),
            data=data,
            route=Route(route),
            direction=Direction(direction),
            title_code=str(parts.get("title_code") or ""),
            title_parameters={str(name): str(value) for name, value in said.items()},
            **words,
        )

    def identifier(self, parts: AnyMapping[str, Any], path: KeyPath) -> uuid.UUID:
        if "id" not in parts:
            return uuid.uuid5(NAMESPACE, repr(path))
        try:
            return uuid.UUID(str(parts["id"]))
        except ValueError:
            self.fault((*path, "id"), "must be a UUID")
            return NAMESPACE

    def moment(self, parts: AnyMapping[str, Any], path: KeyPath, key: str, default: datetime) -> datetime:
        if key not in parts:
            return default
        try:
            found = moment(parts[key], UTC)
        except ValueFault as error:
            self.fault((*path, key), str(error))
            return default
        return found.astimezone(UTC) if isinstance(found, datetime) else default

    def person(self, node: Any, path: KeyPath) -> Person:
        parts = self.keys(node, path, PERSON_KEYS)
        texts: dict[str, Any] = {key: str(parts[key]) for key in PERSON_KEYS[:6] if parts.get(key) is not None}
        texts |= {key: value for key in ("handles", "raw") if isinstance(value := parts.get(key), dict)}
        return make_person(**texts, region=self.region)

    def known(self, node: Any, path: KeyPath) -> PersonMatch | None:
        if node in (STRANGER, None):
            return None
        parts = self.keys(node, path, KNOWN_KEYS, ("object",))
        object_ = str(parts.get("object", ""))
        deal = self.link(parts.get("deal"), (*path, "deal"), "Deal")
        return PersonMatch(
            object=object_,
            id=str(parts.get("id", "1")),
            role=str(parts.get("role", "lead" if "lead" in object_.lower() else "contact")),
            account=self.link(parts.get("account"), (*path, "account"), "Account"),
            open_deal=deal is not None,
            deal=deal,
        )

    def link(self, node: Any, path: KeyPath, object_: str) -> Link | None:
        """A record as `{object: Account, id: "1"}`, or its id alone."""
        if not isinstance(node, dict):
            return Link(object_, str(node)) if node else None
        parts = self.keys(node, path, LINK_KEYS, ("object",))
        return Link(str(parts.get("object", "")), str(parts.get("id", "1")))

    def act(self, node: Any, path: KeyPath) -> dict[str, dict[str, Any]]:
        """Rules that a user sets off: rule -> values, or None for the defaults."""
        parts = self.keys(node, path, self.rules)
        return {rule: values if isinstance(values, dict) else {} for rule, values in parts.items()}

    def expect(self, node: Any, path: KeyPath) -> dict[str, Any]:
        parts = self.keys(node, path, self.rules)
        for rule, wanted in parts.items():
            if wanted != NOTHING:
                self.keys(wanted, (*path, rule), RECORD_KEYS)
                for part in NOTES:
                    if isinstance(wanted, dict) and not isinstance(wanted.get(part, {}), dict):
                        self.fault((*path, rule, part), "must be fields and their values")
        return parts


# -------------------------------------------------------------------------------------------------------- comparing


def _run(mapping: Mapping, document: Document, case: Case) -> CaseResult:
    records = {
        record.rule: record
        for record in preview(
            mapping,
            case.signal,
            case.known,
            live=case.live,
            company=case.company,
            demanded=case.act,
            answered=case.answered,
        )
    }
    targets = {rule.id: rule.link for rule in mapping.parts.rules}
    targets[PEOPLE_CREATE] = mapping.parts.create.link if mapping.parts.create else {}
    differences: list[Fault] = []
    for rule, wanted in case.expect.items():
        path = (*case.place, "expect", rule)
        record = records.get(rule)
        for inner, message in _differences(record, wanted, targets.get(rule, {})):
            differences.append(document.fault((*path, *inner), message))
    return CaseResult(case.name, document.place(case.place)[0], tuple(differences))


Difference = tuple[KeyPath, str]


def _differences(record: Previewed | None, wanted: Any, links: dict[str, str]) -> list[Difference]:
    if wanted == NOTHING:
        return [((), f"expected nothing, got {_outcome(record)}")] if record and not record.skipped else []
    if record is None:
        return [((), "expected a record, but the rule makes nothing of this signal")]
    if "skipped" in wanted or record.skipped:
        return _compare(("skipped",), wanted.get("skipped", ""), record.skipped)
    got = {note: {f.name: f.value for f in record.fields if f.note == note} for note in (*NOTES.values(), "cleared")}
    got["link"] = {name: links.get(name, value) for name, value in got["link"].items()}
    exact = wanted.get("exact") is True
    found: list[Difference] = []
    if "object" in wanted:
        found += _compare(("object",), wanted["object"], record.object)
    for part, note in NOTES.items():
        if part in wanted or (exact and part == "fields"):
            found += _fields(part, wanted.get(part, {}), got[note], exact=exact)
    if "clear" in wanted:
        found += _compare(("clear",), sorted(wanted["clear"]), sorted(got["cleared"]))
    faulty = [fault.field for fault in record.faults]
    found += _compare(("faults",), wanted.get("faults", []), faulty)
    return found


def _fields(part: str, wanted: dict[str, Any], got: dict[str, Any], *, exact: bool) -> list[Difference]:
    found = [each for name, value in wanted.items() for each in _compare((part, name), value, got.get(name))]
    if exact:
        found += [((part,), f"{name}: not expected, got {_shown(got[name])}") for name in got.keys() - wanted.keys()]
    return found


def _compare(path: KeyPath, wanted: Any, got: Any) -> list[Difference]:
    if isinstance(wanted, dict) and set(wanted) == {CONTAINS}:
        texts = wanted[CONTAINS] if isinstance(wanted[CONTAINS], list) else [wanted[CONTAINS]]
        absent = [text for text in texts if str(text) not in str(_plain(got))]
        return [(path, f"expected {_shown(text)} in it, got {_shown(got)}") for text in absent]
    if _plain(wanted) == _plain(got) and isinstance(wanted, bool) == isinstance(got, bool):
        return []
    return [(path, f"expected {_shown(wanted)}, got {_shown(got)}{_where(wanted, got)}")]


def _where(wanted: Any, got: Any) -> str:
    """Where two long texts begin to differ, "" where it is plain to see."""
    if not (isinstance(wanted, str) and isinstance(got, str)) or max(len(wanted), len(got)) < LONG:
        return ""
    place = next(
        (n for n, (one, other) in enumerate(zip(wanted, got, strict=False)) if one != other), min(len(wanted), len(got))
    )
    return f" (they differ from character {place + 1}: {_shown(wanted[place:][:40])}, {_shown(got[place:][:40])})"


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return "" if value is None else value


def _shown(value: Any) -> str:
    value = _plain(value)
    return "nothing" if value in ("", []) else repr(value)


def _outcome(record: Previewed) -> str:
    return f"a {record.object} with {', '.join(f'{f.name}={_shown(f.value)}' for f in record.fields[:3])}"
