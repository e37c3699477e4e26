"""Why a rule makes no record of a signal, in the words that people read: the same in preview as in deliveries.

`preview` and the lanes take them from here. Pure.
"""

from __future__ import annotations

from syncd.identity.identities import split_handle
from syncd.mapping.model import Draft

NOBODY = "nobody"
STRANGER = "stranger"
NO_ACCOUNT = "no account"
NO_DEAL = "no deal"
ANOTHER = "their record is a "
NOTHING_TO_SAY = "there is nothing to write into their record"


def not_findable(identity: str) -> str:
    """Why a rule is skipped for a person of whom only a handle is known that the mapping does not look people up by."""
    network, _ = split_handle(identity)
    return f"people.match has no field for a {network} handle, and nothing else is known of this person"


def not_taken(draft: Draft, object: str) -> str:
    """Why a rule is skipped for a person whose record is an `object` that a link of it does not take, "" when it is not."""
    for name, takes in draft.takes.items():
        if takes.skip and object not in takes.objects:
            return f"{ANOTHER}{object}, and {name} takes a {' or '.join(takes.objects)}"
    return ""


def not_theirs(draft: Draft, object: str) -> str:
    """Why a rule that updates leaves a person alone whose record is an `object`, "" when it does not."""
    if object != draft.object:
        return f"{ANOTHER}{object}, not a {draft.object}"
    says = draft.fields or draft.fill or draft.clear or draft.add or draft.remove
    return "" if says else NOTHING_TO_SAY
