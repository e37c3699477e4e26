"""Whether a record is still as syncd wrote it, for rules that change it once its signal is answered. Pure.

Promise: a record that a user has changed is never changed by such a rule. Where the CRM tells who changed a record last, that
decides; and the values that syncd wrote are compared in any case, since the user of the API may be one of the users.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from syncd.mapping.model import Draft
from syncd.texts.reasons import Reason

CHANGED = Reason("changed_by_user")
DONE = Reason("done_already")


def why_not(draft: Draft, there: Mapping[str, Any], *, by_user: bool) -> str:
    """Why the draft is not written into a record with these values, "" when it is: a user has changed it, or nothing is left to
    do. `by_user`: the CRM says that another user changed it last."""
    if all(same(value, there.get(name)) for name, value in draft.fields.items()) and not (draft.clear or draft.fill):
        return DONE
    if by_user:
        return CHANGED
    for name, value in draft.stands.items():
        if not same(value, there.get(name)) and not (
            name in draft.fields and same(draft.fields[name], there.get(name))
        ):
            return Reason("changed_field", field=name)
    return ""


def same(sent: Any, there: Any) -> bool:
    """Whether a field holds what was sent, in whatever form the CRM returns it: times with any zone, text in any case and with
    other blanks, numbers and switches as text."""
    if sent in (None, "") or there in (None, ""):
        return sent in (None, "") and there in (None, "")
    if isinstance(sent, bool) or isinstance(there, bool):
        return str(sent).casefold() == str(there).casefold()
    if isinstance(sent, datetime) or isinstance(there, datetime):
        return bool(_moment(sent) == _moment(there))
    if isinstance(sent, date) or isinstance(there, date):
        return str(sent)[:10] == str(there)[:10]
    if isinstance(sent, (int, float)):
        return _number(there) == float(sent)
    return _text(sent) == _text(there)


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return value.replace(microsecond=0, tzinfo=value.tzinfo or UTC).astimezone(UTC)
    return value


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    return " ".join(str(value).split()).casefold()
