"""Companies in Zoho CRM: where their name is, how a website is searched, which links a record can hold at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from syncd.connector import Link
from syncd.connectors.crm.zoho import coql, pack

ACCOUNT_NAMES = {"Accounts": "Account_Name"}


def containing(head: str, field: str, parts: Iterable[str]) -> Iterator[str]:
    """Statements for records whose field contains one of these texts, each of as many as WHERE takes. (`like` on Website is slow:
    the answers are cached.)"""
    wanted = list(dict.fromkeys(part for part in parts if coql.askable(part)))
    for start in range(0, len(wanted), coql.CRITERIA):
        tests = [f"{field} like {coql.literal(f'%{part}%')}" for part in wanted[start : start + coql.CRITERIA]]
        yield f"{head} where {coql.bracketed('or', tests)}"


def held_together(object: str, links: Mapping[str, Link]) -> dict[str, Link]:
    """An activity of a lead has the lead in What_Id, where nothing else has room."""
    if object not in pack.ACTIVITIES:
        return dict(links)
    person = links.get(pack.CONTACT_LINK)
    of_lead = person is not None and person.object != "Contacts"
    return {name: link for name, link in links.items() if not (of_lead and name == pack.OTHER_LINK)}
