"""A real lane with the shipped mapping, writing to the Zoho CRM twin: the figures, and what happens to people meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from syncd.config.models import DestinationSettings, Settings
from syncd.connectors.crm.zoho import Zoho
from syncd.dispatch.lane import Lane
from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.lane_rig import Rig, signal, sqlite
from tests.zoho_crm import KEY, connecting, operations

SHIPPED = (Path(__file__).parents[2] / "mappings" / "zoho.yaml").read_text("utf-8")


@dataclass
class ZohoRig(Rig):
    """The rig, with Zoho in place of the CRM in memory."""

    zoho: Zoho | None = None
    mapping: str = field(default=SHIPPED)

    def connect(self) -> None:
        assert self.zoho is not None
        here = DestinationSettings(name="crm", type="zoho", **self.here)
        settings = Settings(channels=self.channels, destinations={"crm": here}, retry=self.retry)
        self.lane = Lane(
            "crm", self.zoho, self.compiled, self.store, settings, random=lambda: 0.0, clock=lambda: self.now
        )


def rigs(twin: ZohoTwin, tmp_path: Path, **here: Any) -> Iterator[ZohoRig]:
    for connect in connecting(twin):
        yield ZohoRig(sqlite(tmp_path), here=here, zoho=connect())


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        yield running


@pytest.fixture
def rig(twin: ZohoTwin, tmp_path: Path) -> Iterator[ZohoRig]:
    yield from rigs(twin, tmp_path)


def test_twenty_calls_cold_and_ten_when_everybody_is_known(twin: ZohoTwin, rig: ZohoRig) -> None:
    for number in range(350):
        twin.add("Contacts", Last_Name=f"P{number}", Email=f"p{number}@example.com")
    rig.arrive([signal(n, email=f"p{n % 400}@example.com") for n in range(1000)])
    rig.drain()
    assert operations(twin) == ["coql"] * 9 + ["upsert"] + ["create"] * 10
    assert rig.states() == {"delivered": 1000}
    assert (len(twin.records("Tasks")), len(twin.records("Leads"))) == (1000, 50)
    twin.calls.clear()
    rig.arrive([signal(n, email=f"p{n % 400}@example.com") for n in range(1000, 2000)])
    rig.drain()
    assert operations(twin) == ["create"] * 10
    assert rig.states() == {"delivered": 2000}
    assert twin.doubled() == {}


def test_lost_answers_double_nothing(twin: ZohoTwin, rig: ZohoRig) -> None:
    twin.plan.add([{"on": name, "do": "reset", "when": "after", "every": 2} for name in ("create", "upsert")])
    rig.arrive([signal(n, email=f"p{n % 40}@example.com") for n in range(300)])
    rig.drain()
    assert rig.states() == {"delivered": 300}
    assert (len(twin.records("Tasks")), len(twin.records("Leads"))) == (300, 40)
    assert twin.doubled() == {}


def test_without_a_unique_field_what_is_in_doubt_is_looked_up(tmp_path: Path) -> None:
    plain = {
        "Tasks": (ZohoField(KEY, length=64, custom=True),),
        "Leads": (ZohoField(KEY, length=64, unique=True, custom=True),),
    }
    with ZohoTwin(custom_fields=plain) as twin:
        for rig in rigs(twin, tmp_path, kinds={"Tasks": "findable"}):
            twin.plan.add([{"on": "create", "do": "reset", "when": "after", "every": 2, "times": 2}])
            rig.arrive([signal(n, email=f"p{n % 40}@example.com") for n in range(300)])
            rig.drain()
            assert rig.states() == {"delivered": 300}
            keys = [record[KEY] for record in twin.records("Tasks")]
            assert (len(keys), len(set(keys))) == (300, 300)


def test_a_person_who_was_converted_or_deleted_is_looked_up_afresh(twin: ZohoTwin, rig: ZohoRig) -> None:
    stranger = twin.add("Leads", Last_Name="L", Email="l@example.com")
    gone = twin.add("Contacts", Last_Name="G", Email="g@example.com")
    rig.arrive([signal(1, email="l@example.com"), signal(2, email="g@example.com")])
    rig.drain()
    contact = twin.convert(stranger)["Contacts"]
    twin.delete(gone)
    rig.arrive([signal(3, email="l@example.com"), signal(4, email="g@example.com")])
    rig.drain()
    assert rig.states() == {"delivered": 4}
    tasks = {record["Subject"]: record for record in twin.records("Tasks")}
    assert tasks["signal 3"]["Who_Id"] == contact
    [fresh] = [record for record in twin.records("Leads") if record.get("Email") == "g@example.com"]
    assert (tasks["signal 4"]["What_Id"], tasks["signal 4"]["$se_module"]) == (fresh["id"], "Leads")


def test_a_bad_row_harms_only_itself(twin: ZohoTwin, rig: ZohoRig) -> None:
    twin.plan.add(
        [{"on": "create", "do": "row", "match": {"Subject": "poison"}, "code": "INVALID_DATA", "fields": ["Subject"]}]
    )
    rig.arrive([signal(n, email="a@example.com", title="poison" if n == 7 else "") for n in range(50)])
    rig.drain()
    assert rig.states() == {"delivered": 49, "dead": 1}
    assert len(twin.records("Tasks")) == 49


def test_a_throttle_uses_up_no_attempt(twin: ZohoTwin, rig: ZohoRig) -> None:
    twin.plan.add([{"on": "create", "do": "concurrency", "times": 12}])
    rig.arrive([signal(n) for n in range(3)])
    rig.drain()
    assert rig.states() == {"delivered": 3}
