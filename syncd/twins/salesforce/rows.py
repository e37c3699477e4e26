"""Rows of the Salesforce twin: checks a record as Salesforce does, and inserts, updates or upserts it in the store.

Used by org.py. A refused row raises SalesforceRowError and leaves nothing behind. Codes and texts follow the REST API's answers;
those marked [M] are from memory: no page or recording at hand shows their wording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from syncd.twins.salesforce.schema import SalesforceField, SObject
from syncd.twins.state import Record, TwinTables

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?")
_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\\\"]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TEXT = frozenset({"string", "email", "phone", "url", "textarea", "picklist", "multipicklist", "combobox"})
_NUMBER = frozenset({"int", "double", "currency", "percent"})
POLYMORPHIC = "Nested object for polymorphic foreign key must have an attributes field before any other fields."  # [R]


class SalesforceRowError(Exception):
    """A row that Salesforce refuses. `status` is the HTTP status where the row is the whole request."""

    def __init__(self, code: str, message: str, fields: Iterable[str] = (), status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.fields, self.status = code, message, list(fields), status

    def body(self, key: str) -> dict[str, Any]:
        """The error object: `key` is statusCode in collections, errorCode elsewhere [R]."""
        return {key: self.code, "message": self.message, "fields": self.fields}


@lru_cache(maxsize=4_096)
def checksum(id15: str) -> str:
    """The three letters that make a case-sensitive 15-character id safe to compare without case."""
    return "".join(_ALPHABET[sum(1 << i for i, c in enumerate(id15[k : k + 5]) if "A" <= c <= "Z")] for k in (0, 5, 10))


def full_id(value: str) -> str | None:
    """The 18-character form of an id; None when it is not one (wrong length, signs or checksum)."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return None
    id15 = value[:15]
    return id15 + checksum(id15) if len(value) == 15 or value[15:] == checksum(id15) else None


def stamp(at: float) -> str:
    """A moment as the REST API writes it [R]: to the second."""
    return _stamp(int(at))


@lru_cache(maxsize=16)
def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


class SalesforceRows:
    """Checked writes into a store. `user`: the id of the integration user, owner of all it creates."""

    def __init__(self, store: TwinTables, schema: Mapping[str, SObject], clock: Callable[[], float], user: str) -> None:
        self.store, self.schema, self.clock, self.user = store, schema, clock, user
        self.prefixes = {o.prefix: o.name for o in schema.values()}
        self._next: dict[str, int] = {}
        self._cases = 0

    def object(self, name: str) -> SObject:
        """The object by its name; raises SalesforceRowError (NOT_FOUND, 404) as for a resource that does not exist."""
        found = self.schema.get(name)
        if found is None:
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        return found

    def live(self, id_: str) -> Record | None:
        """The record with this id, deleted or not; found by the id's prefix."""
        name = self.prefixes.get(id_[:3])
        return None if name is None else self.store.get(name, id_)

    def new_id(self, made: SObject) -> str:
        if made.name not in self._next:
            used = (_number(i[3:15]) for i in self.store.table(made.name).records)
            self._next[made.name] = max(used, default=_number("dM0000003000"))
        self._next[made.name] += 1
        id15 = made.prefix + _base62(self._next[made.name])
        return id15 + checksum(id15)

    def insert(self, made: SObject, given: Mapping[str, Any]) -> str:
        """Creates a record; returns its id. Raises SalesforceRowError."""
        fields = self.checked(made, given)
        missing = [n for n in made.required if fields.get(n) is None and made.fields[n].default is None]
        if missing:
            raise SalesforceRowError(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing
            )
        record = dict(made.defaults)
        record.update({k: v for k, v in fields.items() if v is not None})
        self._unique(made, record, None)
        if made.name == "EntitySubscription":
            self._follows(record)
        id_ = self.new_id(made)
        now = stamp(self.clock())
        record.update(Id=id_, IsDeleted=False, CreatedDate=now, CreatedById=self.user, LastModifiedById=self.user)
        record.setdefault("OwnerId", self.user)
        self._derive(made, record, now)
        self.store.put(made.name, id_, record)
        return id_

    def update(self, made: SObject, id_: str, given: Mapping[str, Any]) -> None:
        """Changes a record. Raises SalesforceRowError: ENTITY_IS_DELETED for a deleted one, others for a converted lead [R]."""
        current = self.store.get(made.name, id_)
        if current is None:
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        if current["IsDeleted"]:
            raise SalesforceRowError("ENTITY_IS_DELETED", "entity is deleted", status=404)
        if current.get("IsConverted"):
            raise SalesforceRowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        fields = self.checked(made, given)
        emptied = [n for n in made.required if n in fields and fields[n] is None]
        if emptied:
            raise SalesforceRowError(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(emptied)}]", emptied
            )
        record = {**current, **fields}
        self._unique(made, record, id_)
        record["LastModifiedById"] = self.user
        self._derive(made, record, stamp(self.clock()))
        self.store.put(made.name, id_, {k: v for k, v in record.items() if v is not None})

    def upsert(self, made: SObject, key: SalesforceField, value: Any, given: Mapping[str, Any]) -> tuple[str, bool]:
        """Creates or changes by an external id: (id, created). Several matches raise DUPLICATE_EXTERNAL_ID with status 300."""
        if value is None or value == "":
            raise SalesforceRowError("MISSING_ARGUMENT", f"{key.name} not specified", [key.name])
        found = self.matches(made, key, value)
        if len(found) > 1:
            ids = ", ".join(r["Id"] for r in found)
            text = f"{key.label}: more than one record found for external id field: [{ids}]"
            raise SalesforceRowError("DUPLICATE_EXTERNAL_ID", text, [key.name], status=300)
        if found:
            self.update(made, found[0]["Id"], given)
            return found[0]["Id"], False
        if key.name == "Id":
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        return self.insert(made, {**given, key.name: value}), True

    def matches(self, made: SObject, key: SalesforceField, value: Any) -> list[Record]:
        if key.name == "Id":
            record = self.store.get(made.name, full_id(str(value)) or "")
            return [record] if record is not None and not record["IsDeleted"] else []
        return [r for r in self.store.find(made.name, key.name, value) if not r["IsDeleted"]]

    def clashes(self, object_: str, record: Record) -> bool:
        """Whether another live record already holds one of this one's unique values."""
        try:
            self._unique(self.schema[object_], record, record.get("Id"))
        except SalesforceRowError:
            return True
        return False

    # Checks.

    def checked(self, made: SObject, given: Mapping[str, Any]) -> dict[str, Any]:
        """The fields in canonical names and types; raises SalesforceRowError for the first that is wrong."""
        fields: dict[str, Any] = {}
        for name, value in given.items():
            if name == "attributes":
                continue
            one = made.fields.get(name) or made.folded.get(name.casefold())
            if one is None:
                relation = made.relationships.get(name)
                if relation is None:
                    raise SalesforceRowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {made.name}")
                fields[relation.name] = self._by_external_id(relation, value)
                continue
            if not one.writable:
                raise SalesforceRowError(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {one.name}. Please check the security settings of this field and "
                    f"verify that it "
                    "is read/write for your profile or permission set.",
                    [one.name],
                )
            fields[one.name] = None if value is None or value == "" else self._value(one, value)
        self._activity(made, fields)
        return fields

    def _value(self, one: SalesforceField, value: Any) -> Any:
        if one.type in _TEXT:
            return self._text(one, value)
        if one.type == "reference":
            return self._reference(one, value)
        if one.type == "boolean":
            if isinstance(value, bool):
                return value
            if str(value).lower() in ("true", "false"):
                return str(value).lower() == "true"
        elif one.type in _NUMBER:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
                return float(value) if "." in value else int(value)
        elif one.type == "date" and isinstance(value, str):
            try:
                if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
                    return date.fromisoformat(value).isoformat()
            except ValueError:
                pass  # answered below like any other text that is not a date
        elif one.type == "datetime" and isinstance(value, str) and _DATETIME.fullmatch(value):
            return stamp(datetime.fromisoformat(value).timestamp())
        raise _unreadable(one.type, value)

    def _text(self, one: SalesforceField, value: Any) -> str:
        if isinstance(value, dict | list):
            raise _unreadable("string", value)
        text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        if _FORBIDDEN.search(text):
            # [M]: Salesforce's exact answer to control characters is not on any page here; that it refuses them is.
            raise SalesforceRowError(
                "FIELD_INTEGRITY_EXCEPTION", f"{one.label}: value contains characters that are not allowed", [one.name]
            )
        units = (
            len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
        )  # as Apex counts [M]
        if one.length and units > one.length:
            text = f"{one.label}: data value too large: {text} (max length={one.length})"
            raise SalesforceRowError("STRING_TOO_LONG", text, [one.name])
        if one.type == "email" and not _EMAIL.fullmatch(text):
            raise SalesforceRowError("INVALID_EMAIL_ADDRESS", f"{one.label}: invalid email address: {text}", [one.name])
        picked = text.split(";") if one.type == "multipicklist" else [text]
        if one.restricted and not set(picked) <= set(one.values):
            message = f"{one.label}: bad value for restricted picklist field: {text}"
            raise SalesforceRowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, [one.name])
        return text.rstrip() if one.type != "textarea" else text

    def _reference(self, one: SalesforceField, value: Any) -> str:
        id_ = full_id(value)
        known = [p for p, name in self.prefixes.items() if name in one.refers]
        if id_ is None or (known and id_[:3] not in known):
            raise SalesforceRowError("MALFORMED_ID", f"{one.label} ID: id value of incorrect type: {value}", [one.name])
        if not known:
            return id_
        target = self.live(id_)
        if target is None:
            raise SalesforceRowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if target["IsDeleted"]:
            raise SalesforceRowError("ENTITY_IS_DELETED", "entity is deleted", [one.name])
        if target.get("IsConverted"):
            raise SalesforceRowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", [one.name])
        return id_

    def _by_external_id(self, relation: SalesforceField, value: Any) -> str | None:
        """`"Account": {"Ext__c": "7"}`: a parent by its external id; a polymorphic one names its type first."""
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _unreadable("reference", value)
        named = value.get("attributes")
        if len(relation.refers) > 1 and (not isinstance(named, dict) or next(iter(value)) != "attributes"):
            raise SalesforceRowError("JSON_PARSER_ERROR", POLYMORPHIC)
        type_ = named.get("type") if isinstance(named, dict) else relation.refers[0]
        keys = [k for k in value if k != "attributes"]
        parent = self.schema.get(str(type_))
        key = parent.field(keys[0]) if parent is not None and len(keys) == 1 else None
        if parent is None or key is None or not (key.external or key.lookup) or type_ not in relation.refers:
            text = f"More than 1 field provided in an external foreign key reference in entity: {type_}"
            raise SalesforceRowError("INVALID_FIELD", text)
        found = self.matches(parent, key, value[keys[0]])
        if len(found) != 1:
            text = f"Foreign key external ID: {value[keys[0]]} not found for field {key.name} in entity {parent.name}"
            raise SalesforceRowError("INVALID_FIELD", text)
        return str(found[0]["Id"])

    def _activity(self, made: SObject, fields: Mapping[str, Any]) -> None:
        """An activity of a lead is related to nothing else [M, salesforce.md]."""
        if made.name in ("Task", "Event") and str(fields.get("WhoId") or "").startswith("00Q") and fields.get("WhatId"):
            raise SalesforceRowError(
                "FIELD_INTEGRITY_EXCEPTION",
                "Related To ID: a lead's activity cannot be related to a record",
                ["WhatId"],
            )

    def _unique(self, made: SObject, record: Mapping[str, Any], own: str | None) -> None:
        for name in made.unique:
            if record.get(name) is None:
                continue
            for other in self.store.find(made.name, name, record[name]):
                if other["Id"] != own and not other["IsDeleted"]:
                    text = f"duplicate value found: {name} duplicates value on record with id: {other['Id']}"
                    raise SalesforceRowError("DUPLICATE_VALUE", text, [name])

    def _follows(self, record: Mapping[str, Any]) -> None:
        """A user follows a record once, and only one of an object whose feed is tracked [M, salesforce_more.md]."""
        parent = self.schema[self.prefixes[record["ParentId"][:3]]]
        if not parent.tracked:
            text = f"You can't follow this record: feed tracking is not enabled for {parent.name}"
            raise SalesforceRowError("FIELD_INTEGRITY_EXCEPTION", text, ["ParentId"])
        if (self.live(record["SubscriberId"]) or {}).get("IsActive") is not True:
            raise SalesforceRowError("INACTIVE_OWNER_OR_USER", "operation performed with inactive user")
        for other in self.store.find("EntitySubscription", "ParentId", record["ParentId"]):
            if other["SubscriberId"] == record["SubscriberId"] and not other["IsDeleted"]:
                raise SalesforceRowError("DUPLICATE_VALUE", "The user is already following the record")

    def _derive(self, made: SObject, record: Record, now: str) -> None:
        """What Salesforce fills in by itself."""
        record["LastModifiedDate"] = record["SystemModstamp"] = now
        if made.name in ("Contact", "Lead", "User"):
            record["Name"] = " ".join(filter(None, (record.get("FirstName"), record.get("LastName"))))
        elif made.name == "Task":
            record["IsClosed"] = record.get("Status") == "Completed"
            record["IsHighPriority"] = record.get("Priority") == "High"
        elif made.name == "Case" and "CaseNumber" not in record:
            self._cases = max(self._cases, len(self.store.table("Case").records)) + 1
            record["CaseNumber"] = f"{1000 + self._cases:08d}"


def _unreadable(kind: str, value: Any) -> SalesforceRowError:
    token = {dict: "START_OBJECT", list: "START_ARRAY", bool: "VALUE_TRUE"}.get(type(value), "VALUE_STRING")
    text = (
        f"Cannot deserialize instance of {kind} from {token} value {value} or request may be missing a required field"
    )
    return SalesforceRowError("JSON_PARSER_ERROR", f"{text} at [line:1, column:1]")


def _base62(number: int) -> str:
    signs = ""
    while number:
        number, rest = divmod(number, 62)
        signs = _DIGITS[rest] + signs
    return signs.rjust(12, "0")


def _number(signs: str) -> int:
    value = 0
    for sign in signs:
        value = value * 62 + _DIGITS.index(sign)
    return value
