"""Why a rule makes no record of a signal, in the words that people read: the same in preview as in deliveries.

`preview` and the lanes take them from here. Pure.
"""

from __future__ import annotations

from syncd.identity.identities import split_handle
from syncd.mapping.model import Draft
from syncd.texts.reasons import Reason

NOBODY = Reason("nobody")
STRANGER = Reason("stranger")
NO_ACCOUNT = Reason("no_account")
NO_DEAL = Reason("no_deal")
NOT_ANSWERED = Reason("not_answered")
ANOTHER = frozenset({"another_object", "link_takes_another"})
"""Codes of rules that were skipped because of what the person's record is: another record may change that."""
NOTHING_TO_SAY = Reason("nothing_to_write")


def not_findable(identity: str) -> str:
    """Why a rule is skipped for a person of whom only a handle is known that the mapping does not look people up by."""
    network, _ = split_handle(identity)
    return Reason("not_findable", network=network)


def not_taken(draft: Draft, object: str) -> str:
    """Why a rule is skipped for a person whose record is an `object` that a link of it does not take, "" when it is not."""
    for name, takes in draft.takes.items():
        if takes.skip and object not in takes.objects:
            return Reason("link_takes_another", object=object, link=name, takes=" or ".join(takes.objects))
    return ""


def not_theirs(draft: Draft, object: str) -> str:
    """Why a rule that updates leaves a person alone whose record is an `object`, "" when it does not."""
    if object != draft.object:
        return Reason("another_object", object=object, wanted=draft.object)
    says = draft.fields or draft.fill or draft.clear or draft.add or draft.remove or draft.owner
    return "" if says else NOTHING_TO_SAY
