"""Makes the key fields a mapping needs in Zoho CRM, or says exactly how an operator does. The destination's `prepare` is this.

Facts: zoho.com, "Create Custom Fields" (v8): the API name comes of the label, a module takes two unique fields, everybody in the
account sees a new field. Other fields are not made: a custom one is indistinguishable by name from a misspelt standard one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.capabilities import MissingField, PrepareResult
from syncd.connectors.answers import mappings
from syncd.connectors.crm.missing_fields import SEVERAL, FieldMaker, Known, NotMade, attempt, several_by_hand
from syncd.connectors.crm.zoho import scopes
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.describe import describe

LABEL_MOST = 25
"""Characters of a label (Zoho's published spec)."""
NO_FIELDS = frozenset({"Notes"})
WHY: Mapping[str, str] = {
    **dict.fromkeys(scopes.NO_RIGHT, "our user may not customise Zoho CRM"),
    "LIMIT_EXCEEDED": "the module has as many unique fields, or fields, as the edition allows",
    "DUPLICATE_DATA": "there is a field of this label or name already, which our user may not see",
}
"""Code -> why, where we know more than Zoho says."""


@dataclass
class ZohoFieldMaker(FieldMaker):
    """One run over one account."""

    client: ZohoClient
    noun = "module "

    def describe(self, objects: Sequence[str]) -> Known:
        return describe(self.client, objects)

    def screen(self, need: MissingField) -> str:
        return f"Setup, Customization, Modules and Fields, {need.object}, the layout"

    def form(self, need: MissingField) -> str:
        return f"Single Line ({need.length}), no duplicate values"

    def by_hand(self, need: MissingField) -> str:
        return (
            f"{self.screen(need)}: drag in Single Line, call it {_label(need)}, {need.length} characters, tick Do not allow "
            f"duplicate values; save the layout. The API name (Developer Hub, API Names) must be {need.field}"
        )

    def make(self, need: MissingField) -> PrepareResult:
        if why := self._refusal(need):
            return self.refused(need, why)
        if self.there(need):
            return PrepareResult(need, True, f"{self.place(need)} is made: {self.form(need)}")
        text = f"Zoho made a field of {need.object}, but under another API name. In Setup, Developer Hub, API Names change it to "
        return self.left(need, f"{text}{need.field}")

    def _refusal(self, need: MissingField) -> str:
        """Why it was not made, "" when it was."""
        field = {"field_label": _label(need), "data_type": "text", "length": need.length}
        body = {"fields": [{**field, "unique": {"case_sensitive": False}}]}
        path = f"/settings/fields?module={need.object}"
        answer = attempt(lambda: self.client.ask("POST", path, body, rows="fields", write=True))
        if isinstance(answer, NotMade):
            failure = answer.failure
            return WHY.get(answer.code, failure.message if failure and answer.code == scopes.MISSING else answer.why)
        row = next(iter(mappings(answer, "fields")), {})
        code = str(row.get("code") or "no reason was given")
        why = WHY.get(code, f"{code}: {row.get('message') or ''}".rstrip(": "))
        return "" if row.get("status") == "success" else why

    def unmakeable(self, need: MissingField, known: Known) -> str:
        if need.object in NO_FIELDS:
            return f"{need.object} take no custom fields: leave the key out of the rule"
        if need.type == SEVERAL:
            clicks = f"{self.screen(need)}: drag in Multi-Select, call it {_label(need)}"
            return several_by_hand(need, f"{clicks} (API name {need.field}; Developer Hub, API Names)")
        if not need.key:
            return (
                f"{need.object}.{need.field} is not there: correct the name (Setup, Developer Hub, API Names shows them), or "
                "make it in Setup, Modules and Fields if it is to be a field of your own"
            )
        if len(_label(need)) > LABEL_MOST or "__" in need.field:
            return f"{need.field} cannot be made of a label; name the key field Syncd_Key"
        return ""


def _label(need: MissingField) -> str:
    return need.field.replace("_", " ")
