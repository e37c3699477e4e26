"""Rows of the Zoho CRM twin: checks a record as Zoho does, inserts or updates it, and shapes records as answers show them.

Used by org.py. A refused row raises ZohoRowError and leaves nothing behind. Shapes of row errors are from zoho.md, partly [UNV].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from syncd.twins.state import Record, TwinTables
from syncd.twins.zoho.schema import Module, ZohoField

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
)  # zoho.md: with an offset, without millis; "…761Z" was rejected live
_ID = re.compile(r"\d{15,19}")
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_TEXT = frozenset({"text", "email", "phone", "website", "textarea", "picklist"})
_INTEGER = frozenset({"integer", "bigint"})
FIRST_ID = 7328395000000704000
PEOPLE = ("Leads", "Contacts")
MEMBERS = 10


class ZohoRowError(Exception):
    """A row that Zoho refuses: becomes data[i] with status "error"."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, dict(details or {})

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "details": self.details, "message": self.message, "status": "error"}


class ZohoRows:
    """Checked writes into a store. `user`: who the token belongs to; `zone`: that user's, in which all "
    "times are answered [REC]."""

    def __init__(
        self,
        store: TwinTables,
        schema: Mapping[str, Module],
        clock: Callable[[], float],
        user: Mapping[str, Any],
        zone_hours: float,
        duplicate_id: bool,
    ) -> None:
        self.store, self.schema, self.clock, self.user = store, schema, clock, user
        self.zone = timezone(timedelta(hours=zone_hours))
        self.duplicate_id = duplicate_id
        self.ignored: set[str] = set()  # unknown fields, which Zoho drops without a word [M]
        self._next = 0

    def new_id(self) -> str:
        if not self._next:
            known = (int(i) for t in self.store.tables.values() for i in t.records if i.isdigit())
            self._next = max((FIRST_ID, *known))
        self._next += 1
        return str(self._next)

    def stamp(self, at: float | None = None) -> str:
        moment = datetime.fromtimestamp(self.clock() if at is None else at, UTC)
        return moment.astimezone(self.zone).isoformat(timespec="seconds")

    def live(self, module: str, id_: str) -> Record | None:
        record = self.store.get(module, id_)
        return None if record is None or record.get("_deleted") else record

    def insert(self, module: Module, given: Mapping[str, Any], index: int) -> Record:
        """Creates a record. Raises RowError."""
        fields = self.checked(module, given, index)
        for name in module.mandatory:
            if fields.get(name) is None:
                raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", _where(name, index))
        self._unique(module, fields, None, index)
        now = self.stamp()
        record = {f.name: f.default for f in module.fields.values() if f.default is not None}
        record.update({k: v for k, v in fields.items() if v is not None})
        record.update(
            id=self.new_id(),
            Created_Time=now,
            Created_By=self.user["id"],
            Modified_Time=now,
            Modified_By=self.user["id"],
        )
        record.setdefault("Owner", self.user["id"])
        record |= {name: self._members(module, {}, name, record[name], index) for name in _several(module, fields)}
        self.store.put(module.name, record["id"], record)
        return record

    def update(self, module: Module, id_: str, given: Mapping[str, Any], index: int) -> Record:
        """Changes a record. Raises RowError (INVALID_DATA) for an id that is not there any more."""
        current = self.live(module.name, id_)
        if current is None:
            raise ZohoRowError(
                "INVALID_DATA",
                "the id given seems to be invalid",
                {"id": id_, "api_name": "id", "json_path": f"$.data[{index}].id"},
            )
        if current.get("$converted"):
            raise ZohoRowError("ID_ALREADY_CONVERTED", "id already converted", {"id": id_})
        fields = self.checked(module, given, index)
        for name in module.mandatory:
            if name in fields and fields[name] is None:
                raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", _where(name, index))
        self._unique(module, fields, id_, index)
        fields |= {name: self._members(module, current, name, fields[name], index) for name in _several(module, fields)}
        record = {**current, **fields, "Modified_Time": self.stamp(), "Modified_By": self.user["id"]}
        self.store.put(module.name, id_, {k: v for k, v in record.items() if v is not None})
        return record

    def upsert(
        self, module: Module, given: Mapping[str, Any], index: int, check: list[str]
    ) -> tuple[Record, str | None]:
        """(record, the field by which an existing one was found): the listed fields first, then the other unique ones [DOC]."""
        for name in dict.fromkeys((*check, *module.unique)):
            value = given.get(name)
            if value in (None, ""):
                continue
            found = [
                r
                for r in self.store.find(module.name, name, value)
                if not r.get("_deleted") and not r.get("$converted")
            ]
            if found:
                return self.update(module, found[0]["id"], given, index), name
        return self.insert(module, given, index), None

    def details(self, record: Record) -> dict[str, Any]:
        """What a write answers of a record [REC]."""
        user = {"name": self.user["full_name"], "id": self.user["id"]}
        times = {"Modified_Time": record["Modified_Time"], "Modified_By": user}
        return times | {"Created_Time": record["Created_Time"], "id": record["id"], "Created_By": user}

    def clashes(self, module: str, record: Record) -> bool:
        try:
            self._unique(self.schema[module], record, record["id"], 0)
        except ZohoRowError:
            return True
        return False

    # Checks.

    def checked(self, module: Module, given: Mapping[str, Any], index: int) -> dict[str, Any]:
        """The known, writable fields with their values checked; raises ZohoRowError for the first that is wrong."""
        fields: dict[str, Any] = {}
        for name, value in given.items():
            one = module.fields.get(name)
            if one is None:
                if name not in ("id", "$se_module", "se_module"):
                    self.ignored.add(f"{module.name}.{name}")
                continue
            if not one.writable:
                continue
            fields[name] = None if value is None or value == "" else self._value(one, value, given, index)
            if name == "What_Id" and fields[name] is not None:
                fields["$se_module"] = given["$se_module"]
        if "Parent_Id" in fields:
            fields["$se_module"] = _parent_module(given)
        return fields

    def _value(self, one: ZohoField, value: Any, given: Mapping[str, Any], index: int) -> Any:
        if one.type in _TEXT:
            return self._text(one, value, index)
        if one.type == "lookup":
            return self._lookup(one, value, given, index)
        if one.type == "parent":
            return self._parent(one, value, given, index)
        if one.type == "ownerlookup":
            id_ = _id_of(value)
            if id_ is None or self.store.get("users", id_) is None:
                raise ZohoRowError("INVALID_DATA", "invalid data", _where(one.name, index))
            return id_
        if one.type == "boolean" and isinstance(value, bool):
            return value
        if one.type == "list" and isinstance(value, list):
            return value
        if one.type == "multiuserlookup" and isinstance(value, list):
            return [self._member(one, each, index) for each in value]
        if one.type == "multiselectpicklist" and isinstance(value, list) and _known_values(one, value):
            return value
        if one.type in _INTEGER and isinstance(value, int) and not isinstance(value, bool):
            return value
        if one.type == "currency" and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if one.type == "date" and isinstance(value, str) and _is_date(value):
            return value
        if one.type == "datetime" and isinstance(value, str) and _MOMENT.fullmatch(value):
            try:
                return self.stamp(datetime.fromisoformat(value).timestamp())
            except ValueError:
                pass  # a 31st of February: answered as any other text that is not a time
        raise ZohoRowError("INVALID_DATA", "invalid data", {"expected_data_type": one.type, **_where(one.name, index)})

    def _member(self, one: ZohoField, value: Any, index: int) -> dict[str, Any]:
        """An entry of a multi-user field: a user, or one that is there already, by its own id, which may be deleted [M]."""
        if not isinstance(value, dict):
            raise ZohoRowError("INVALID_DATA", "invalid data", _where(one.name, index))
        if "_delete" in value:
            return {"id": str(value.get("id")), "_delete": True}
        user = _id_of(value.get(one.name))
        if user is None or self.store.get("users", user) is None:
            raise ZohoRowError("INVALID_DATA", "invalid data", _where(one.name, index))
        return {"id": str(value["id"]) if "id" in value else self.new_id(), "user": user}

    def _members(
        self, module: Module, current: Record, name: str, changes: list[dict[str, Any]] | None, index: int
    ) -> list[dict[str, Any]]:
        """A multi-user field after an update: what is not named stays, entries of their own ids change or go [M]. At most ten
        users [DOC, Zoho's note on multi-user lookups in the API]."""
        members = {one["id"]: one for one in current.get(name) or []}
        for change in changes or []:
            if "_delete" not in change:
                members[change["id"]] = change
            elif members.pop(change["id"], None) is None:
                raise ZohoRowError("INVALID_DATA", "the id given seems to be invalid", _where(name, index))
        if len(members) > MEMBERS:
            raise ZohoRowError("LIMIT_EXCEEDED", "the limit is exceeded", {"limit": MEMBERS, **_where(name, index)})
        return list(members.values())

    def _text(self, one: ZohoField, value: Any, index: int) -> str:
        if not isinstance(value, str) or "\x00" in value:
            raise ZohoRowError(
                "INVALID_DATA", "invalid data", {"expected_data_type": one.type, **_where(one.name, index)}
            )
        if len(value) > one.length:
            raise ZohoRowError(
                "INVALID_DATA", "invalid data", {"maximum_length": one.length, **_where(one.name, index)}
            )
        if (one.type == "email" and not _EMAIL.fullmatch(value)) or (one.restricted and value not in one.values):
            raise ZohoRowError(
                "INVALID_DATA", "invalid data", {"expected_data_type": one.type, **_where(one.name, index)}
            )
        return value

    def _lookup(self, one: ZohoField, value: Any, given: Mapping[str, Any], index: int) -> str:
        """A record's id. Who_Id takes contacts only; What_Id names its module beside it, in $se_module [DOC]."""
        id_ = _id_of(value)
        module = one.refers
        if module == "*":
            module = str(given.get("$se_module") or "")
            if not module:
                raise ZohoRowError("MANDATORY_NOT_FOUND", "required field not found", _where("$se_module", index))
            if module not in self.schema:  # "Account" for Accounts [UNV]
                raise ZohoRowError("INVALID_DATA", "the module given seems to be invalid", _where("$se_module", index))
        record = None if id_ is None else self.live(module, id_)
        if id_ is None or record is None or record.get("$converted"):
            details = {**_where(one.name, index), "json_path": f"$.data[{index}].{one.name}.id"}
            raise ZohoRowError("INVALID_DATA", "the related id given seems to be invalid", details)
        return id_

    def _parent(self, one: ZohoField, value: Any, given: Mapping[str, Any], index: int) -> str:
        """A note's record: v2 gives id and se_module [REC], v8 an object with module.api_name [DOC]."""
        id_ = _id_of(value)
        if id_ is None or self.live(_parent_module(given), id_) is None:
            raise ZohoRowError("INVALID_DATA", "the related id given seems to be invalid", _where(one.name, index))
        return id_

    def _unique(self, module: Module, fields: Mapping[str, Any], own: str | None, index: int) -> None:
        """One field that is taken is its own error; several are wrapped into one, as the published spec has it."""
        taken: list[ZohoRowError] = []
        for name in module.unique:
            if fields.get(name) is None:
                continue
            others = self.store.find(module.name, name, fields[name])
            other = next((o for o in others if o["id"] != own and not o.get("_deleted")), None)
            if other is not None:
                details = _where(name, index)
                if self.duplicate_id:  # whether it is reported is [UNV]: a switch
                    holder = {"id": other["id"], "module": {"api_name": module.name, "id": module.name}}
                    details |= {"id": other["id"], "duplicate_record": holder, "more_records": False}
                taken.append(ZohoRowError("DUPLICATE_DATA", "duplicate data", details))
        if len(taken) > 1:
            errors = {"errors": [one.body() for one in taken]}
            raise ZohoRowError("MULTIPLE_OR_MULTI_ERRORS", "Multiple errors in the request", errors)
        if taken:
            raise taken[0]

    # Shapes.

    def shape(self, module: Module, record: Record, names: list[str] | None = None) -> dict[str, Any]:
        """A record as GET shows it: every field, links as {name, id}, and the $-extras [REC]; or only the fields asked for."""
        if names is not None:
            return {n: self.field(module, record, n) for n in names if n in module.fields} | {"id": record["id"]}
        shown = {n: self.field(module, record, n) for n in module.fields}
        extras = module.extras | {k: v for k, v in record.items() if k.startswith("$")}
        return shown | extras | {"id": record["id"]}

    def field(self, module: Module, record: Record, name: str) -> Any:
        one = module.fields.get(name)
        value = record.get(name)
        if name == "Full_Name":
            return " ".join(filter(None, (record.get("First_Name"), record.get("Last_Name"))))
        if one is None or value is None:
            return value
        if one.type == "ownerlookup":
            user = self.store.get("users", value) or {}
            return {"name": user.get("full_name"), "id": value, "email": user.get("email")}
        if one.type == "multiuserlookup":
            names = {each["user"]: (self.store.get("users", each["user"]) or {}).get("full_name") for each in value}
            return [{name: {"name": names[e["user"]], "id": e["user"]}, "id": e["id"]} for e in value]
        if one.type in ("lookup", "parent"):
            other = one.refers if one.refers not in ("", "*") else record.get("$se_module", "")
            return {"name": self.label(other, value), "id": value}
        return str(value) if one.type == "bigint" else value

    def label(self, module: str, id_: str) -> str | None:
        record = self.store.get(module, id_) or {}
        if module in PEOPLE:
            return " ".join(filter(None, (record.get("First_Name"), record.get("Last_Name"))))
        return record.get(self.schema[module].check or "Subject") if module in self.schema else None


def _several(module: Module, fields: Mapping[str, Any]) -> list[str]:
    """The multi-user fields among these that have a value."""
    several = {name for name, one in module.fields.items() if one.type == "multiuserlookup"}
    return [
        name for name, value in fields.items() if value and name in several
    ]  # $se_module is among them, and no field


def _where(name: str, index: int) -> dict[str, Any]:
    return {"api_name": name, "json_path": f"$.data[{index}].{name}"}


def _id_of(value: Any) -> str | None:
    id_ = value.get("id") if isinstance(value, dict) else value
    return id_ if isinstance(id_, str) and _ID.fullmatch(id_) else None


def _parent_module(given: Mapping[str, Any]) -> str:
    parent = given.get("Parent_Id")
    if isinstance(parent, dict) and isinstance(parent.get("module"), dict):
        return str(parent["module"].get("api_name", ""))
    return str(given.get("se_module") or given.get("$se_module") or "")


def _known_values(one: ZohoField, values: list[Any]) -> bool:
    """Whether each is a text, and one of the picklist's if it takes no others."""
    return all(isinstance(each, str) and (not one.restricted or each in one.values) for each in values)


def _is_date(value: str) -> bool:
    try:
        return len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False
