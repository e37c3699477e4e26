"""Makes the custom fields a mapping needs in Bitrix24, or says exactly how an operator does. The destination's `prepare` is this.

Facts: Bitrix24's pages of crm.lead.userfield.add and its like: FIELD_NAME goes without UF_CRM_, which Bitrix24 puts before it; in
crm.item.* UF_CRM_SHOE_SIZE is ufCrmShoeSize. The key's own fields are standard ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.capabilities import MissingField, PrepareResult
from syncd.connectors.crm.bitrix24.client import Bitrix24Client
from syncd.connectors.crm.bitrix24.commands import command
from syncd.connectors.crm.bitrix24.describe import described
from syncd.connectors.crm.bitrix24.objects import BESIDE, KEY, TYPES
from syncd.connectors.crm.missing_fields import SEVERAL, FieldMaker, Known, NotMade, attempt, several_by_hand

KINDS: Mapping[str, str] = {
    "text": "string",
    "date": "date",
    "datetime": "datetime",
    "number": "double",
    "checkbox": "boolean",
}
"""`MissingField.type` -> USER_TYPE_ID."""
_CUSTOM = re.compile(r"ufCrm((?:[A-Z][a-z]*[0-9]*)+)")
LONGEST = 43
"""Characters of a name after UF_CRM_."""


@dataclass
class Bitrix24FieldMaker(FieldMaker):
    """One run over one portal."""

    client: Bitrix24Client
    noun = "object "

    def describe(self, objects: Sequence[str]) -> Known:
        return described(self.client, objects)

    def form(self, need: MissingField) -> str:
        return f"{KINDS.get(need.type, 'string')}, {_name(need.field)}"

    def screen(self, need: MissingField) -> str:
        return f"CRM, Settings, CRM settings, Custom fields, {need.object}, Add field"

    def by_hand(self, need: MissingField) -> str:
        return f"{self.screen(need)}: type {KINDS.get(need.type, 'string')}, code {_name(need.field)}"

    def make(self, need: MissingField) -> PrepareResult:
        name = _name(need.field)
        fields = {
            "FIELD_NAME": name.removeprefix("UF_CRM_"),
            "USER_TYPE_ID": KINDS.get(need.type, "string"),
            "LABEL": name.removeprefix("UF_CRM_").replace("_", " ").capitalize(),
        }
        text = command(f"crm.{need.object.lower()}.userfield.add", {"fields": fields})
        answer = attempt(lambda: self._asked(text))
        if isinstance(answer, NotMade):
            return self.refused(need, answer.why)
        if self.there(need):
            return PrepareResult(need, True, f"{self.place(need)} is made: {self.form(need)}")
        return self.left(need, f"Bitrix24 made a field {name}, but it is not called {need.field}: correct the mapping")

    def _asked(self, text: str) -> object:
        (reply,) = self.client.batch([text], write=True)
        if reply.failure is not None:
            raise reply.failure
        return reply.value

    def unmakeable(self, need: MissingField, known: Known) -> str:
        if need.object in BESIDE:
            names = ", ".join(one.name for one in known.get(need.object, ()))
            return f"a {need.object} has no {need.field}; there are: {names}"
        if need.key and need.field != KEY:
            return f"write key: {KEY}, which every {need.object} has"
        if need.type == SEVERAL:
            return several_by_hand(need, f"{self.screen(need)}: type List, several values, code {_name(need.field)}")
        if need.object not in TYPES or not _CUSTOM.fullmatch(need.field):
            return (
                f"{need.object}.{need.field} is not there: correct the name (a field of your own is ufCrm and its name)"
            )
        if len(_name(need.field).removeprefix("UF_CRM_")) > LONGEST:
            return f"{need.field} is too long a name: {LONGEST} characters after ufCrm, with one for each capital"
        return ""


def _name(field: str) -> str:
    """ufCrmShoeSize as Bitrix24 keeps it: UF_CRM_SHOE_SIZE."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field).upper()
