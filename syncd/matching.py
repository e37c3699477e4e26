"""Who of several records a person is: an email address decides, a phone number only where nothing speaks against it.

CRM connectors call it with the records their queries brought back. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from syncd.connector import PersonMatch, PersonQuery
from syncd.identity.identities import is_role


@dataclass(frozen=True)
class Candidate:
    """A record that has one of the person's phone numbers or handles. `emails`: the addresses that stand in it, lower-cased.
    `company`: it is a company, whose number its people share. `handle`: a handle of the person stands in it."""

    found: PersonMatch
    emails: frozenset[str] = frozenset()
    company: bool = False
    handle: bool = False

    @property
    def bare(self) -> bool:
        """Whether it says nothing of a person but the number (`syncd` itself names a caller without a name so)."""
        return not self.emails and bool(self.found.name) and not any(sign.isalpha() for sign in self.found.name)


def by_number(wanted: PersonQuery, candidates: Sequence[Candidate]) -> PersonMatch | None:
    """The record among those with the person's number, in the order of `people.match`; None when all of them are other
    people; with `rivals` when the number alone cannot decide.

    A record with another email address than the person's is a different person. A company counts only where no person has the
    number, and a record that is nothing but the number only where no other record has it. Records of one email address, or
    of one name without different addresses, are the same person: the first counts.
    """
    mine = email_of(wanted)
    left = [one for one in candidates if not (mine and one.emails) or mine in one.emails]
    left = [one for one in left if not one.company] or left
    left = [one for one in left if not one.bare] or left[:1]
    if len(left) > 1 and wanted.name:
        left = [one for one in left if same_name(one.found.name, wanted.name)] or left
        if all(same_name(one.found.name, wanted.name) for one in left):
            left = left[:1]
    if not left:
        return None
    agree = all(_same_person(one, other) for one, other in pairwise(left))
    rivals = () if agree else tuple(one.found for one in left[1:])
    emails = tuple(sorted(left[0].emails))
    return msgspec.structs.replace(left[0].found, by_number=True, rivals=rivals, emails=emails)


def with_rivals(wanted: PersonQuery, found: PersonMatch, others: Sequence[Candidate]) -> PersonMatch:
    """The record that an address or handle of the person names, with those of the `others` as rivals that are the same person's
    too: `others` have an identity of the person that `found` does not have.

    A record with their handle is theirs. One with their number only is theirs if nothing says that the number is shared: it has
    no email address, and no name but the number or the person's own. A role's address (info@) ties nothing to anything.
    """
    mine = email_of(wanted)
    if is_role(f"email:{mine}"):
        return found
    names = [name for name in (found.name, wanted.name) if name]
    rivals = {
        (one.found.object, one.found.id): one.found
        for one in others
        if mine not in one.emails
        and (one.handle or not (one.emails or one.company))
        and (one.handle or one.bare or any(same_name(one.found.name, name) for name in names))
    }
    rivals.pop((found.object, found.id), None)
    return msgspec.structs.replace(found, rivals=tuple(rivals.values())) if rivals else found


def agrees(
    wanted: PersonQuery, emails: Collection[str], name: str, *, number: bool = False, handle: bool = False
) -> bool:
    """Whether a record that the CRM itself named as a duplicate is the person: by the email address, or, where the two do
    not have different ones, by a handle, or by number and name together (`handle`, `number`: it has theirs)."""
    mine = email_of(wanted)
    if mine and mine in emails:
        return True
    if handle and not (mine and emails):
        return True
    return not (mine and emails) and number and same_name(name, wanted.name)


def email_of(wanted: PersonQuery) -> str:
    """The person's email address, "" for none."""
    if wanted.email:
        return folded(wanted.email)
    kind, _, address = wanted.identity.partition(":")
    return folded(address) if kind == "email" else ""


def folded(text: str) -> str:
    """Text as the CRMs compare it: without case."""
    return text.strip().lower()


def same_name(one: str, other: str) -> bool:
    """Whether two names have the same words, in whatever order; two empty ones do not."""
    words = sorted(one.casefold().replace(",", " ").split())
    return bool(words) and words == sorted(other.casefold().replace(",", " ").split())


def _same_person(one: Candidate, other: Candidate) -> bool:
    if one.emails and other.emails:
        return not one.emails.isdisjoint(other.emails)
    return same_name(one.found.name, other.found.name)
