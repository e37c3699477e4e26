"""Rules that notify: Zoho's SalesSignals, once for each signal, and what their refusals do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.config.models import DestinationSettings
from syncd.mapping.loading import load_mapping
from syncd.preflight.parts import compared
from syncd.service.assembly import BuiltDestination
from tests.integration.dispatch.test_own_records import ANN, TwinRig, zoho
from tests.lane_rig import signal

RULE = """  - id: ring
    name: Tell the owner
    signals: [call.missed]
    notify: {kind}
    fields:
      subject: "{{{{ signal.title | shorten(100) }}}}"
      message: "{{{{ signal.text }}}}"
      actions: [{{type: link, open_in: tab, display_name: Open, url: "{{{{ signal.url }}}}"}}]
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[TwinRig]:
    made = zoho(tmp_path)
    made.names["kind"] = "Telephony_Missed__s"
    yield made
    made.client.close()
    made.twin.stop()


def sent(rig: TwinRig) -> list[dict[str, Any]]:
    return sorted(rig.twin.records("Signals"), key=lambda one: str(one["subject"]))


def missed(number: int = 1, **more: Any) -> Any:
    return signal(number, type="call.missed", text="Rang twice", **more)


def test_each_signal_notifies_once(rig: TwinRig) -> None:
    who = rig.person("contact")
    rig.with_rules(RULE)
    rig.arrive([missed(1), missed(2)])
    rig.drain()
    assert [(one["signal_namespace"], one["id"], one["subject"], one["message"]) for one in sent(rig)] == [
        ("Telephony_Missed__s", who, "signal 1", "Rang twice"),
        ("Telephony_Missed__s", who, "signal 2", "Rang twice"),
    ]
    assert all("actions" not in one for one in sent(rig))
    assert rig.of_rule("ring") == [("written", ""), ("written", "")]


def test_what_was_missed_long_ago_calls_nobody(rig: TwinRig) -> None:
    rig.person("contact")
    rig.with_rules(RULE)
    rig.arrive([missed()], live=False, old=True)
    rig.drain()
    assert (sent(rig), rig.of_rule("ring")) == ([], [("skipped", "live_only")])


def test_a_lost_answer_is_never_sent_again(rig: TwinRig) -> None:
    rig.person("contact")
    rig.with_rules(RULE)
    rig.twin.plan.add([{"on": "notify", "do": "reset", "when": "after", "times": 1}])
    rig.arrive([missed()])
    rig.drain()
    assert len(sent(rig)) == 1
    ((state, reason),) = rig.of_rule("ring")
    assert (state, reason.startswith("it may have been done")) == ("unconfirmed", True)


def test_an_unknown_signal_holds_its_rule_alone(rig: TwinRig) -> None:
    rig.person("contact")
    rig.names["kind"] = "Telephony_Mised__s"
    rig.with_rules(
        RULE + "  - {{id: log, name: B, signals: ['*'], update: {contact}, fields: {{Department: Sales}}}}\n"
    )
    rig.arrive([missed()])
    rig.step()
    ((state, reason),) = rig.of_rule("ring")
    assert state == "held"
    assert "is there such a signal in Setup, SalesSignals?" in reason
    assert rig.record("contact")["Department"] == "Sales"


def test_check_online_names_the_signal_that_is_meant(rig: TwinRig) -> None:
    rig.names["kind"] = "Telephony_Mised__s"
    rig.with_rules(RULE)
    outlet = BuiltDestination(DestinationSettings(name="crm", type="zoho"), rig.client, rig.compiled)
    said = [line.message for line in compared(outlet, rig.client) if "notification" in line.message]
    assert said == ["there is no notification Telephony_Mised__s"]


def test_a_deleted_person_is_looked_up_again(rig: TwinRig) -> None:
    gone = rig.person("contact")
    rig.with_rules(RULE)
    rig.arrive([missed(1)])
    rig.drain()
    rig.twin.delete(gone)
    again = rig.twin.add("Contacts", Last_Name="Ann", Email=ANN)
    rig.arrive([missed(2)])
    rig.drain()
    assert [one["id"] for one in sent(rig)] == [gone, again]


def test_a_rule_that_notifies_is_checked() -> None:
    from syncd.errors import ConfigError

    with pytest.raises(ConfigError) as wrong:
        load_mapping("rules:\n  - {id: a, signals: ['*'], notify: N, key: K, fields: {subject: x}}\n")
    said = [str(fault) for fault in wrong.value.faults]
    assert "key cannot stand here: a notification is sent once" in said[1]
    assert "notifies about people, but the mapping has no people part" in said[0]
