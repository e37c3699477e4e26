"""Makes the custom fields a mapping needs, and shows them to our user: the Tooling API and a permission set of syncd's own.

The destination's `prepare` is this. Asked twice it makes nothing twice; what the org refuses becomes the clicks for a person.
Facts: Tooling API CustomField, FieldPermissions (Object Reference). A field made by the API is seen by nobody until a
permission set shows it. The exact codes of refusals are not documented: every refusal is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.capabilities import MissingField, PrepareResult
from syncd.connectors.crm.missing_fields import REFUSALS, SEVERAL, FieldMaker, Known, NotMade, attempt, several_by_hand
from syncd.connectors.crm.queried import is_name
from syncd.connectors.crm.salesforce import soql
from syncd.connectors.crm.salesforce.client import SalesforceClient, Subrequest, Subresponse
from syncd.connectors.crm.salesforce.describe import describe, user_of
from syncd.connectors.crm.salesforce.errors import read_errors
from syncd.errors import Misconfigured
from syncd.http.error_table import dig

ACTIVITY = "Activity"
ON_ACTIVITY = frozenset({"Task", "Event"})
"""Their custom fields are made on Activity, for both at once, and cannot be unique there [M]."""
SUFFIX = "__c"
PERMISSIONS = ("Syncd", "syncd")
"""Name and label of the permission set that shows the fields to our user."""
TEXT_MOST, LONG_LEAST, LONG_MOST = 255, 256, 131_072
THERE = frozenset({"DUPLICATE_DEVELOPER_NAME", "DUPLICATE_VALUE"})
"""Codes that say it is there already. Other refusals are looked up: their texts are in the language of our user."""
CALLS = "REQUEST_LIMIT_EXCEEDED"
"""The one allowance that is not the org's number of fields: it comes back by itself."""
_TYPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "date": ("Date", {}),
    "datetime": ("DateTime", {}),
    "number": ("Number", {"precision": 18, "scale": 4}),
    "checkbox": ("Checkbox", {"defaultValue": "false"}),
}


@dataclass
class SalesforceFieldMaker(FieldMaker):
    """One run over one org."""

    client: SalesforceClient
    made: set[str] = field(default_factory=set)
    permission_set: str = ""
    folds_case = True
    shown = "; and show it to our user"

    def describe(self, objects: Sequence[str]) -> Known:
        return describe(self.client, objects)

    def place(self, need: MissingField) -> str:
        return f"{_owner(need)}.{need.field}"

    def screen(self, need: MissingField) -> str:
        return f"Setup, Object Manager, {_owner(need)}, Fields & Relationships, New"

    def form(self, need: MissingField) -> str:
        made = _metadata(need)
        size = f"({made['length']})" if "length" in made else ""
        return ", ".join([f"{made['type']}{size}", *_ticks(need, "Unique")])

    def by_hand(self, need: MissingField) -> str:
        made, ticks = _metadata(need), _ticks(need, "Unique (not case sensitive)")
        size = f", length {made['length']}" if "length" in made else ""
        tick = f", tick {' and '.join(ticks)}" if ticks else ""
        return (
            f"{self.screen(need)}: type {made['type']}, label {made['label']}{size}, name {need.field.removesuffix(SUFFIX)}"
            f"{tick}; make it visible and editable for the profile of syncd's user. (To let "
            "syncd do it, its user needs Customize Application and Manage Profiles and Permission Sets.)"
        )

    def make(self, need: MissingField) -> PrepareResult:
        place = self.place(need)
        refused = None
        if place not in self.made:
            body = {"FullName": place, "Metadata": _metadata(need)}
            answer = self._post("/tooling/sobjects/CustomField", body)
            refused = answer if isinstance(answer, NotMade) else None
        if refused is not None and not (refused.code in THERE or (not refused.lost and self._exists(need))):
            return self.refused(need, refused.why)
        self.made.add(place)
        hidden = self._show(need)
        verb = "was there, and is" if refused is not None else "is made:"
        if not hidden and self.there(need):
            return PrepareResult(
                need, True, f"{place} {verb} {self.form(need)}; our user sees it by the permission set {PERMISSIONS[1]}"
            )
        why = f": {hidden}" if hidden else ""
        return self.left(need, f"{place} is there, but our user does not see it{why}. {_show_by_hand(need)}")

    def _exists(self, need: MissingField) -> bool:
        """Whether the org has the field, though our user may not see it; False as well where the org does not tell."""
        table, name = self.place(need).split(".")
        try:
            return bool(
                self._first(
                    "CustomField", "tooling/query", TableEnumOrId=table, DeveloperName=name.removesuffix(SUFFIX)
                )
            )
        except REFUSALS:
            return False

    def _show(self, need: MissingField) -> str:
        """Shows the field to our user; why not, "" when it is shown."""
        try:
            if not self.permission_set:
                self.permission_set = self._own_permission_set()
        except REFUSALS as failed:
            return str(failed)
        grant = {"ParentId": self.permission_set, "SobjectType": need.object, "Field": f"{need.object}.{need.field}"}
        grant_rights: dict[str, Any] = {**grant, "PermissionsRead": True, "PermissionsEdit": True}
        answer = self._post("/sobjects/FieldPermissions", grant_rights)
        return answer.why if isinstance(answer, NotMade) and answer.code not in THERE else ""

    def _own_permission_set(self) -> str:
        """The id of syncd's permission set, made and given to our user where that is still to do. Raises a Failure."""
        user = str(user_of(self.client).get("user_id") or "")
        if not user:
            raise Misconfigured("the org does not tell who our user is; the app needs the scope `openid` or `id`")
        name, label = PERMISSIONS
        held = self._first("PermissionSet", Name=name)
        held = held or self._id(self._post("/sobjects/PermissionSet", {"Name": name, "Label": label}))
        if not self._first("PermissionSetAssignment", AssigneeId=user, PermissionSetId=held):
            self._id(self._post("/sobjects/PermissionSetAssignment", {"AssigneeId": user, "PermissionSetId": held}))
        return held

    def _first(self, object_: str, resource: str = "query", **values: str) -> str:
        tests = " AND ".join(f"{name} = {soql.literal(value)}" for name, value in values.items())
        (rows,) = self.client.query([f"{soql.select(('Id',), object_)} WHERE {tests}"], resource=resource)
        return str(rows[0]["Id"]) if rows else ""

    def _id(self, answer: Subresponse | NotMade) -> str:
        if isinstance(answer, NotMade):
            raise Misconfigured(f"the permission set {PERMISSIONS[1]} could not be made or given: {answer.why}")
        return str(dig(answer.body, "id") or "")

    def _post(self, path: str, body: Mapping[str, Any]) -> Subresponse | NotMade:
        """What came of it. Raises failures that a retry may resolve (throttled, quota, sign-in)."""
        sent = attempt(
            lambda: self.client.send([Subrequest("POST", path, body)])[0], full=lambda one: one.code != CALLS
        )
        if isinstance(sent, NotMade) or sent.ok:
            return sent
        one = read_errors(sent.body)[0]
        return NotMade(f"{one.code}: {one.message}".strip(": "), one.code)

    def unmakeable(self, need: MissingField, known: Known) -> str:
        bare = need.field.removesuffix(SUFFIX)
        if bare == need.field or not is_name(bare):
            return (
                f"{need.object}.{need.field} cannot be made: a field of your own ends in {SUFFIX}; correct the mapping"
            )
        if "__" in bare:
            return f"{need.field} belongs to a package: install it, or correct the mapping"
        if need.type == SEVERAL and not self.has(known, need):
            return several_by_hand(
                need, f"{self.screen(need)}: type Picklist (Multi-Select), label {_label(need)}, name {bare}"
            )
        return ""


def _owner(need: MissingField) -> str:
    """The object that the field is made on."""
    return ACTIVITY if need.object in ON_ACTIVITY else need.object


def _unique(need: MissingField) -> bool:
    return need.key and need.object not in ON_ACTIVITY


def _label(need: MissingField) -> str:
    return need.field.removesuffix(SUFFIX).replace("_", " ").strip()[:40]


def _metadata(need: MissingField) -> dict[str, Any]:
    made: dict[str, Any] = {"label": _label(need), "required": False, "description": "Written by syncd."}
    if need.type in _TYPES:
        kind, more = _TYPES[need.type]
        return {**made, "type": kind, **more}
    if need.length > TEXT_MOST and not need.key:
        length = min(max(need.length, LONG_LEAST), LONG_MOST)
        return {**made, "type": "LongTextArea", "length": length, "visibleLines": 4}
    made |= {"type": "Text", "length": need.length}
    if need.key:
        made |= {"externalId": True, "description": "The key of syncd's records: do not edit."}
    if _unique(need):
        made |= {"unique": True, "caseSensitive": False}
    return made


def _ticks(need: MissingField, unique: str) -> list[str]:
    return [word for word, on in (("External ID", need.key), (unique, _unique(need))) if on]


def _show_by_hand(need: MissingField) -> str:
    return (
        f"By hand: Setup, Permission Sets, one that syncd's user has, Object Settings, {need.object}, Edit: tick Read and "
        f"Edit Access of {_label(need)}"
    )
