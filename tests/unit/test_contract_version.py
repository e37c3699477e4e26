"""Which connectors the registry refuses and in what words, and what settings that allow less look like to commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd import registry
from syncd.cli import run
from syncd.connector import CONTRACT, Ability, Connector
from syncd.connectors.generic.webhook import CONNECTOR, WebhookSettings
from syncd.errors import UsageError
from syncd.service.assembly import check_configuration

CONFIG = """
server: {public_url: "https://syncd.example.com"}
sources:
  desk: {type: zoho_desk, org_id: "1"}
  phones: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: t0ken, api: false}
  whole: {type: twilio, account_sid: AC00000000000000000000000000000001, auth_token: t0ken}
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return path


def refused(connector: Connector[WebhookSettings, Any], role: registry.Role = "source") -> str:
    return registry.refusal(connector, role)


def test_every_connector_that_ships_is_of_this_contract() -> None:
    for role in registry.ROLES:
        for name in registry.names(role):
            found = registry.load(role, name)
            assert (found.contract, found.role) == (CONTRACT, role), name


def test_a_connector_that_states_no_version_is_of_the_first() -> None:
    assert Connector("x", "x", WebhookSettings, CONNECTOR.build).contract == 1


def test_an_older_one_hears_what_changed_and_where_to_read() -> None:
    text = refused(replace(CONNECTOR, contract=1))
    assert "version 1 of the contract, this syncd has 2" in text
    assert "declares `contract` and `role`" in text
    assert "docs/writing-a-connector.md" in text
    assert "\n" not in text


def test_a_newer_one_needs_a_newer_syncd() -> None:
    assert "upgrade syncd" in refused(replace(CONNECTOR, contract=CONTRACT + 1))


def test_the_declared_role_is_compared_with_the_entry_point() -> None:
    assert refused(CONNECTOR) == ""
    assert "declares role='source' but is registered as destination.webhook" in refused(CONNECTOR, "destination")
    assert "declares no role" in refused(replace(CONNECTOR, role=None))


def test_load_names_the_connector_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        value = "acme:CONNECTOR"

        def load(self) -> Connector[WebhookSettings, Any]:
            return replace(CONNECTOR, name="acme", contract=1)

    monkeypatch.setattr(registry, "_entries", lambda: {"source.acme": Entry()})
    with pytest.raises(UsageError, match=r"source connector 'acme' \(acme:CONNECTOR\) was written for version 1"):
        registry.load("source", "acme")


def test_check_notes_what_the_settings_do_not_allow(configured: Path) -> None:
    report = check_configuration(configured)
    assert report.faults == ()
    noted = {note.key: note.message.partition(": ")[0] for note in report.notes}
    assert noted["sources.phones"] == "no poll, fetch, backfill, subscribe, online check"
    assert noted["sources.desk"] == "no poll, fetch, backfill, subscribe, online check, sign-in"
    assert not [note for note in report.notes if note.key == "sources.whole"]


def test_a_schedule_for_what_cannot_be_polled_is_a_fault(configured: Path) -> None:
    configured.write_text(CONFIG.replace("api: false", "api: false, poll: 5m"))
    (fault,) = check_configuration(configured).faults
    assert "a twilio source is not polled (api: is false" in str(fault)


def test_connectors_shows_what_this_configuration_lacks(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "connectors", "twilio"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in about["unable"]} == {"phones"}
    assert "poll" in {row["ability"] for row in about["unable"]}
    assert {"ability": "poll", "what_for": "read on schedule", "there": True} in about["abilities"]


def test_connectors_works_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["--json", "connectors", "twilio"]) == 0
    assert json.loads(capsys.readouterr().out)["unable"] == []


@pytest.mark.parametrize(
    ("words", "said"), [("backfill phones --since 7d", "api: is false"), ("webhooks register desk", "auth: is not set")]
)
def test_commands_say_why_a_source_cannot(
    configured: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    run(words.split())
    assert said in capsys.readouterr().err


def test_what_is_said_to_lack_is_not_there(configured: Path) -> None:
    from syncd.cli.abilities import ABILITIES
    from syncd.config.loading import load_settings
    from syncd.service.assembly import assemble

    loaded = load_settings(configured)
    assembly = assemble(loaded)
    protocols = {ability: protocol for _, ability, _, protocol in ABILITIES}
    assert set(protocols) == set(Ability)
    for name, source in assembly.sources.items():
        entry = assembly.settings.sources[name]
        lacking = registry.unable("source", entry.type, entry.connector)
        for ability, why in lacking.items():
            assert not isinstance(source, protocols[ability]), (name, ability)
            assert "\n" not in why
