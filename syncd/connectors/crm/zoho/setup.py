"""Makes the key fields a mapping needs in Zoho CRM, or says exactly how a person does. The destination's `prepare` is this.

Facts: zoho.com, "Create Custom Fields" (v8): the API name comes of the label, a module takes two unique fields, everybody in the
account sees a new field. Other fields are not made: a custom one is indistinguishable by name from a misspelt standard one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncd.capabilities import FieldDescription, MissingField, PrepareResult
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.describe import describe
from syncd.connectors.crm.zoho.errors import NO_SCOPE
from syncd.errors import Ambiguous, Failure, Misconfigured, Rejected, StaleReference, Transient

LABEL_MOST = 25
"""Characters of a label (Zoho's published spec)."""
NO_FIELDS = frozenset({"Notes"})
WHY: Mapping[str, str] = {
    "NO_PERMISSION": "our user may not customise Zoho CRM",
    "AUTHORIZATION_FAILED": "our user may not customise Zoho CRM",
    "LIMIT_EXCEEDED": "the module has as many unique fields, or fields, as the edition allows",
    "DUPLICATE_DATA": "there is a field of this label or name already, which our user may not see",
}
"""Code -> why, where we know more than Zoho says."""


def prepare(client: ZohoClient, needs: Sequence[MissingField], *, dry: bool) -> Iterator[PrepareResult]:
    """One step a need, in their order."""
    known = describe(client, list(dict.fromkeys(need.object for need in needs)))
    for need in needs:
        wrong = _not_ours(need, known)
        if wrong:
            yield PrepareResult(need, False, wrong, by_hand=True)
        elif _has(known, need):
            yield PrepareResult(need, True, f"{need.object}.{need.field} is there")
        elif dry:
            yield PrepareResult(need, False, f"would make {need.object}.{need.field}: {_sort(need)}")
        else:
            yield _make(client, need)


def _make(client: ZohoClient, need: MissingField) -> PrepareResult:
    body = {"fields": [{"field_label": _label(need), "data_type": "text", "length": need.length, **_unique()}]}
    why = _refusal(client, f"/settings/fields?module={need.object}", body)
    if why:
        text = f"{need.object}.{need.field} could not be made: {why}. {_by_hand(need)}"
        return PrepareResult(need, False, text, by_hand=True)
    if _has(describe(client, [need.object]), need):
        return PrepareResult(need, True, f"{need.object}.{need.field} is made: {_sort(need)}")
    text = f"Zoho made a field of {need.object}, but under another API name. In Setup, Developer Hub, API Names change it to "
    return PrepareResult(need, False, f"{text}{need.field}", by_hand=True)


def _unique() -> dict[str, Any]:
    return {"unique": {"case_sensitive": False}}


def _refusal(client: ZohoClient, path: str, body: Mapping[str, Any]) -> str:
    """Why it was not made, "" when it was. Raises failures that a retry may resolve (throttled, credits, sign-in)."""
    try:
        answer = client.ask("POST", path, body, write=True)
    except Ambiguous as lost:
        return f"no answer ({lost}); run the command again, it will see whether it was done"
    except (Misconfigured, Rejected, StaleReference, Transient) as refused:
        if isinstance(refused, Transient) and refused.known:
            raise
        return _why(refused)
    rows = answer.get("fields") if isinstance(answer, Mapping) else None
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) else {}
    if row.get("status") == "success":
        return ""
    code = str(row.get("code") or "no reason was given")
    return WHY.get(code, f"{code}: {row.get('message') or ''}".rstrip(": "))


def _why(refused: Failure) -> str:
    return WHY.get(refused.code, refused.message if refused.code == NO_SCOPE else str(refused))


def _not_ours(need: MissingField, known: Mapping[str, Sequence[FieldDescription]]) -> str:
    """Why it cannot be made at all, "" when it can."""
    if need.object not in known:
        return f"there is no module {need.object}, or our user may not see it: correct the mapping"
    if need.object in NO_FIELDS:
        return f"{need.object} take no custom fields: leave the key out of the rule"
    if not need.key:
        return (
            f"{need.object}.{need.field} is not there: correct the name (Setup, Developer Hub, API Names shows them), or make "
            "it in Setup, Modules and Fields if it is to be a field of your own"
        )
    if len(_label(need)) > LABEL_MOST or "__" in need.field:
        return f"{need.field} cannot be made of a label; name the key field Syncd_Key"
    return ""


def _has(known: Mapping[str, Sequence[FieldDescription]], need: MissingField) -> bool:
    return any(one.name == need.field for one in known.get(need.object, ()))


def _label(need: MissingField) -> str:
    return need.field.replace("_", " ")


def _sort(need: MissingField) -> str:
    return f"Single Line ({need.length}), no duplicate values"


def _by_hand(need: MissingField) -> str:
    return (
        f"By hand: Setup, Customization, Modules and Fields, {need.object}, the layout: drag in Single Line, call it "
        f"{_label(need)}, {need.length} characters, tick Do not allow duplicate values; save the layout. The API name (Developer "
        f"Hub, API Names) must be {need.field}"
    )
