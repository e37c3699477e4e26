"""Why something is as it is: a code with parameters, and the English sentence that it makes.

A Reason *is* its English text, so it can be shown, logged and stored as before; beside it travel the code and the parameters,
which the store keeps in columns of their own. Code decides by `code_of(reason)` alone, never by the words. A new reason is one
line in SENTENCES and `Reason("its_code", name=value)` where it arises.
"""

from __future__ import annotations

from typing import Any

import msgspec

SENTENCES: dict[str, str] = {
    # why a rule makes no record of a signal
    "nobody": "nobody",
    "stranger": "stranger",
    "stranger_held": "stranger: held for {span}",
    "not_findable": "people.match has no field for a {network} handle, and nothing else is known of this person",
    "no_account": "no account",
    "no_deal": "no deal",
    "live_only": "live_only",
    "when": "when",
    "another_object": "their record is a {object}, not a {wanted}",
    "link_takes_another": "their record is a {object}, and {link} takes a {takes}",
    "nothing_to_write": "there is nothing to write into their record",
    "nothing_empty": "the fields it would fill are filled",
    "nothing_changes": "the values are there already, or gone already",
    "no_active_user": "no active user is left",
    "fallback_owner": "no active user is left: the fallback",
    "nobody_named": "nobody is named",
    "not_set_off": "it was not written when the signal came",
    "other_value": "their record has another {field}",
    "no_value": "their record has no {field}",
    "superseded": "superseded by a later signal",
    "not_answered": "nobody has answered yet",
    "answered_before": "it was answered before this was written",
    "changed_by_user": "a user has changed the record",
    "changed_field": "the record has another {field} than syncd wrote",
    "done_already": "the record has these values already",
    "record_gone": "the record is not there any more",
    "rule_gone": "its rule is gone from the mapping",
    "no_rule": "no rule makes a record of it",
    "no_linked_record": "there is no record of rule {rule} to link to",
    "not_from": "not from {groups}",
    "not_asked_for": "its type is not in `only:` of this destination",
    "not_created_any_more": "they are not created any more",
    "signal_gone": "the signal was purged or forgotten",
    # why a write waits
    "repeated": "written again: another event of its signal was counted",
    "waits_for_write": "waits for another write of its record",
    "waits_for_link": "waits for the record it is linked to",
    "waits_for_person": "waits for the person's record",
    "waits_for_company": "waits for the company's record",
    "not_seen_yet": "the CRM does not show their new record yet",
    "calls_fail": "calls fail: {cause}",
    "limited": "limited: {cause}",
    "missing_in_crm": "missing in the CRM: made again by verify",
    "in_doubt": "in doubt: {cause}",
    # why it needs an operator
    "cannot_look_up": "cannot be looked up: {cause}",
    "given_up": "given up after {tries} tries: {cause}",
    "maybe_done": "it may have been done, and cannot be looked up: {cause}",
    "maybe_done_without_key": "it may have been done, and its rule names no key to look it up by: {cause}",
    "link_refused": "the CRM refuses the record it links to, although the person was looked up again: {cause}",
    "person_refused": "the record of this person was refused: {cause}",
    "company_refused": "the record of this company was refused: {cause}",
    "existing_not_theirs": "{cause}; none of them has this person's email address, or number and name",
    "several_by_number": "several records have this phone number: {records}",
    "several_records": "several records have identities of this person: {records}",
    "field_faults": "{faults}",
    "discarded": "discarded; it was {state}: {cause}",
    "stumbled": "syncd tripped over it: {cause}",
    # of people
    "alias": "as {identity}",
    # why a destination is paused
    "calls_failed": "{failures} calls failed in a row: {cause}",
    "throttled": "throttled: {cause}",
    "allowance_used": "the allowance is used up: {cause}",
    "our_share_used": "our share of the daily allowance is used: {used} of {most}",
    "account_used": "the account has used {used} of its {maximum} {unit}",
}
"""code -> English. The words may change at any time; a code and the names of its parameters stay."""

SIGN_IN = "sign_in"
"""The code of a failure after which an operator must sign in (`syncd auth`)."""
WAITING = ("waits_for_write", "waits_for_link", "waits_for_person", "waits_for_company")
"""Codes of what waits for another write: what that one met is the cause."""


def failure_code(failure: Exception) -> str:
    """The code of a failure: its class in lower case, or SIGN_IN."""
    return SIGN_IN if getattr(failure, "sign_in", False) else type(failure).__name__.lower()[:60]


class Reason(str):
    """A sentence with its code and parameters. A parameter that is a Reason itself also leaves its code, as `NAME_code`."""

    code: str
    parameters: dict[str, Any]

    def __new__(cls, code: str, /, **parameters: Any) -> Reason:
        return cls.worded(SENTENCES[code].format(**parameters), code, **parameters)

    @classmethod
    def worded(cls, text: str, code: str, /, **parameters: Any) -> Reason:
        """A reason in the words of somebody else: the vendor's, or another reason's with something before it."""
        made = str.__new__(cls, text)
        made.code = code
        kept: dict[str, Any] = {}
        for name, value in parameters.items():
            kept[name] = value if isinstance(value, (int, float)) else str(value)
            if isinstance(value, Reason):
                kept[f"{name}_code"] = value.code
        made.parameters = kept
        return made

    def of_rule(self, rule: str) -> Reason:
        """The reason of a write, as its delivery says it."""
        return Reason.worded(f"{rule}: {self}", self.code, **{**self.parameters, "rule": rule})

    def __reduce__(self) -> tuple[Any, ...]:
        return Reason.stored, (str(self), self.code, packed(self))

    @classmethod
    def stored(cls, text: str, code: str, parameters: str) -> str:
        """A reason from its columns; a row of an older version has no code, and its text is returned as it is."""
        if not (code and text):
            return text
        return cls.worded(text, code, **(msgspec.json.decode(parameters) if parameters else {}))


def code_of(reason: str) -> str:
    """The code, "" for a plain text (a row of an older version)."""
    return reason.code if isinstance(reason, Reason) else ""


def packed(reason: str) -> str:
    """The parameters as the store keeps them: JSON, "" for none."""
    if not isinstance(reason, Reason) or not reason.parameters:
        return ""
    return msgspec.json.encode(reason.parameters).decode().replace("\\u0000", "")


def parameters_of(packed_parameters: str) -> dict[str, Any]:
    """The parameters from their column."""
    found: dict[str, Any] = msgspec.json.decode(packed_parameters) if packed_parameters else {}
    return found
