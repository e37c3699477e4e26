"""Creates records for companies that the CRM does not have, with the promise that `person_creation` gives for people."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.connector import PersonMatch
from syncd.dispatch.new_people import NewPerson
from syncd.dispatch.person_creation import PersonCreator
from syncd.errors import Failure, Rejected

ROLE = "company"
"""The role of a company's record, which is kept beside people."""


class CompanyCreator(PersonCreator):
    """Makes companies as people are made. One that the CRM refuses as a duplicate is the record that it named."""

    def _recognised(self, duplicates: Sequence[tuple[NewPerson, Rejected]]) -> Sequence[PersonMatch | Failure | None]:
        return [_only(one, why) for one, why in duplicates]


def _only(one: NewPerson, why: Rejected) -> PersonMatch | None:
    named = [id_ for object_, id_ in why.existing if object_ in ("", one.draft.object)]
    return PersonMatch(object=one.draft.object, id=named[0], role=ROLE) if len(named) == 1 else None
