"""What a CRM refuses for everybody (a full account, a sign-in, a wrong key field) pauses or holds; nothing is lost meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.connector import Written
from syncd.errors import Rejected
from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.integration.test_zoho_lane import ZohoRig, rigs
from tests.lane_rig import signal
from tests.zoho_crm import KEY, connecting, key, push, task

HOUR = 3600.0


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        running.add("Contacts", Last_Name="Ann", Email="ann@example.com")
        yield running


@pytest.fixture
def rig(twin: ZohoTwin, tmp_path: Path) -> Iterator[ZohoRig]:
    yield from rigs(twin, tmp_path)


@pytest.mark.parametrize("code", ["STORAGE_SPACE_EXCEEDED", "LICENSE_LIMIT_EXCEEDED", "FEATURE_NOT_SUPPORTED"])
def test_a_full_account_is_waited_for_whatever_time_it_takes(twin: ZohoTwin, rig: ZohoRig, code: str) -> None:
    twin.plan.add([{"on": "create", "do": "row", "code": code, "message": ""}])
    rig.arrive([signal(n) for n in range(30)])
    for _ in range(40):  # far more rounds than there are tries
        rig.step()
        rig.later(HOUR)
    assert rig.states().keys() <= {"pending", "held"}
    assert {row["attempts"] for row in rig.writes} == {0}
    twin.plan.clear()
    rig.drain()
    assert rig.states() == {"delivered": 30}
    assert len(twin.records("Tasks")) == 30


@pytest.mark.parametrize("fault", ["invalid_client", "invalid_code"])
def test_a_refused_sign_in_is_no_fault_of_the_mapping(twin: ZohoTwin, rig: ZohoRig, fault: str) -> None:
    twin.plan.add([{"on": "token", "do": fault}])
    rig.arrive([signal(1)])
    rig.step()
    reason = rig.lane.pace().reason
    assert reason
    assert "people.match" not in reason
    twin.plan.clear()
    rig.drain()
    assert rig.states() == {"delivered": 1}


def test_a_missing_scope_is_no_fault_of_the_mapping(twin: ZohoTwin, rig: ZohoRig) -> None:
    twin.plan.add([{"on": "coql", "do": "scope"}])
    rig.arrive([signal(1)])
    rig.step()
    reason = rig.lane.pace().reason
    assert "OAUTH_SCOPE_MISMATCH" in reason
    assert "people.match" not in reason


def test_a_record_that_collides_in_two_fields_is_read_as_both() -> None:
    """The twin wraps both errors into one, as Zoho does: our own key among them means that it is written."""
    fields = tuple(ZohoField(name, length=64, unique=True, custom=True) for name in (KEY, "Other_Key"))
    with ZohoTwin(custom_fields={"Tasks": fields}) as running:
        held = running.add("Tasks", Subject="there", Syncd_Key=key(1), Other_Key="o")
        for connect in connecting(running):
            first = task(1, fields={"Other_Key": "o"})
            other = task(2, fields={"Other_Key": "o"})
            written, refused = push(connect(), first, other)
    assert written == Written(held, created=False)
    assert isinstance(refused, Rejected)
    assert refused.field == "Other_Key"
