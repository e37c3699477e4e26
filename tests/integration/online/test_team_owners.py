"""`check --online` of owners by role: how many take turns, and a role that nobody has."""

from __future__ import annotations

import pytest

from syncd.twins.zoho.twin import ZohoTwin
from tests.integration.online.conftest import Start, point
from tests.integration.online.test_observers import PERSON
from tests.user_folder import UserFolder


def owned(folder: UserFolder, kind: str, owner: str) -> str:
    (folder.path / "mappings").mkdir(exist_ok=True)
    folder.write(
        f"mappings/{kind}.yaml",
        f"people: {{match: [{{object: {PERSON[kind]}, by: {{Email: '{{{{ person.email }}}}'}}}}]}}\n"
        f"rules:\n  - {{id: o, name: O, signals: ['*'], assign: person, owner: {{{owner}}}}}\n",
    )
    ran = folder.syncd("check", "--online", "crm")
    return ran.out + ran.err


@pytest.mark.parametrize("kind", ["salesforce", "zoho"])
def test_a_role_is_counted_and_one_that_nobody_has_is_named(folder: UserFolder, start: Start, kind: str) -> None:
    twin = start(kind)
    point(folder, kind, twin)
    if isinstance(twin, ZohoTwin):
        role = "CEO"
    else:
        role = "Boss"
        twin.store.table("UserRole").put("00E000000000001AAA", {"Id": "00E000000000001AAA", "DeveloperName": role})
        table = twin.store.table("User")
        (id_, row) = next(iter(table.records.items()))
        table.put(id_, {**row, "UserRoleId": "00E000000000001AAA"})
    assert f"role {role}: 1 active users take turns" in owned(folder, kind, f"role: {role}")
    told = owned(folder, kind, "role: Sails")
    (line,) = [line for line in told.splitlines() if "the CRM has no active user in the role Sails" in line]
    assert f"mappings/{kind}.yaml:3:" in line
    assert "rules[0].owner.role" in line


@pytest.mark.parametrize("kind", ["salesforce", "zoho"])
def test_a_department_is_refused_without_a_network(folder: UserFolder, start: Start, kind: str) -> None:
    point(folder, kind, start(kind))
    told = owned(folder, kind, "department: 5")
    assert f"rules[0].owner.department: destination crm: {kind} has no department whose members syncd can read" in told
