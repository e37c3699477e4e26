"""The open catalogue: types that a plug-in declares are known wherever types are, and only once they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd import registry, signal_types
from syncd.config.loading import load_settings, parse_settings
from syncd.config.switches import edit_switches, matching_switches, switch_rows
from syncd.connector import Connector, Direction, Request, SignalSpec
from syncd.connectors.generic.webhook import CONNECTOR as WEBHOOK
from syncd.errors import ConfigError, UsageError
from syncd.mapping.lint import lint_mapping
from syncd.scaffold.first_config import ConfigEntry, first_config
from syncd.service.assembly import check_configuration, connector_of
from syncd.signal_types import SignalType, declare, known_types, place_of
from syncd.store import Store
from tests.entries import a_signal

PINGED = SignalSpec("acme.pinged", "webhook: id", backfill=False, channel="acme", switch="pinged", title="Ping of Acme")
CALLED = replace(PINGED, type="acme.called_back", switch="called_back", title="We called back", direction=Direction.OUT)
ACME = replace(WEBHOOK, name="acme", signals=(PINGED, CALLED))
SOURCE = "sources: {pings: {type: acme, verify: {scheme: none, insecure: true}}}\n"
ON = "channels: {acme: {pinged: true}}\n"


class _Entry:
    """An entry point that counts how often it is loaded."""

    value = "syncd_acme:CONNECTOR"

    def __init__(self, connector: Connector) -> None:  # type: ignore[type-arg]
        self.connector, self.loaded = connector, 0

    def load(self) -> object:
        self.loaded += 1
        return self.connector


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Entry]:
    """The plug-in is installed and nothing has loaded it: a process of its own, as far as the catalogue goes."""
    entry = _Entry(ACME)
    entries = {**registry._entries(), "source.acme": entry}
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    monkeypatch.setattr(registry, "_DECLARED_BY", {})
    monkeypatch.setattr(signal_types, "_KNOWN", dict(signal_types._KNOWN))
    monkeypatch.setattr(signal_types, "_OUTGOING", set(signal_types._OUTGOING))
    registry.load_every_source.cache_clear()
    yield entry
    registry.load_every_source.cache_clear()
    place_of.cache_clear()


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse_settings(text, Path("config.yaml"), {})
    return [str(fault) for fault in raised.value.faults]


def test_a_configured_connector_makes_its_types_known(acme: _Entry) -> None:
    settings = parse_settings(ON + SOURCE, Path("config.yaml"), {}).settings
    assert settings is not None
    assert settings.switch("acme.pinged") is True
    assert settings.switch("acme.called_back") is False
    rows = [row for row in switch_rows(settings) if row["channel"] == "acme"]
    assert [(row["type"], row["title"], row["wanted"]) for row in rows] == [
        ("acme.pinged", "Ping of Acme", "on"),
        ("acme.called_back", "We called back", "off"),
    ]
    assert a_signal(type="acme.pinged").channel == "acme"
    assert a_signal(type="acme.called_back").direction is Direction.OUT


def test_no_plug_in_is_loaded_for_types_that_are_known(acme: _Entry) -> None:
    parse_settings("channels: {calls: {missed: true}, custom: {x: true}}\n", Path("config.yaml"), {})
    assert registry.fitting_types("call.*") == ("call.missed", "call.answered", "call.placed")
    assert acme.loaded == 0


def test_a_wrong_switch_of_it_is_a_fault_with_its_place(acme: _Entry) -> None:
    assert faults("channels: {acme: {pingd: true}}\n" + SOURCE) == [
        "config.yaml:1:19 channels.acme.pingd: no such switch (did you mean pinged?)"
    ]


def test_a_switch_of_a_connector_without_a_source_warns_and_names_it(acme: _Entry, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(ON + "sources: {inbox: {type: maildir, path: ./M}}\n", "utf-8")
    report = check_configuration(path)
    assert report.faults == ()
    said = [f"{fault.message}; {fault.hint}" for fault in report.warnings if fault.key == "channels.acme.pinged"]
    assert said == ["is on, and no source makes acme.pinged; add a source of type acme, or take the switch out"]


def test_patterns_of_mappings_and_commands_know_it(acme: _Entry, tmp_path: Path) -> None:
    rules = "rules: [{{id: a, name: A, signals: [{}], upsert: T, key: k, fields: {{X: y}}}}]\n"
    mapping = tmp_path / "m.yaml"
    mapping.write_text(rules.format("acme.*"), "utf-8")
    assert lint_mapping(mapping).warnings == ()
    mapping.write_text(rules.format("acme.pingd"), "utf-8")
    assert "did you mean acme.pinged?" in str(lint_mapping(mapping).warnings[0])
    assert matching_switches(["acme.pinged"]) == [("acme", "pinged")]
    assert matching_switches(["acme"]) == [("acme", "pinged"), ("acme", "called_back")]


def test_channels_enable_edits_its_switch(acme: _Entry, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("channels: {}  # mine\n", "utf-8")
    assert edit_switches(path, ["acme.pinged"], on=True) == ["acme.pinged"]
    assert "acme" in path.read_text("utf-8")


def test_init_switches_on_what_it_makes(acme: _Entry) -> None:
    entry = ConfigEntry("source", "pings", "acme", {"verify.scheme": "none", "verify.insecure": "true"})
    assert "acme: {pinged: true, called_back: true}" in first_config({}, [entry]).config


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (SignalType("acme.pinged", "", "", ""), "needs a channel and a switch"),
        (SignalType("Acme", "acme", "x", ""), "two lower-case words"),
        (SignalType("custom.x", "acme", "x", ""), "cannot be declared"),
        (SignalType("acme.missed", "calls", "missed", ""), "the switch calls.missed belongs to call.missed"),
        (SignalType("call.missed", "acme", "missed", ""), "is declared already, as calls.missed"),
        (SignalType("acme.x", "custom", "x", ""), "needs a channel"),
    ],
)
def test_what_cannot_be_declared(acme: _Entry, row: SignalType, said: str) -> None:
    before = known_types()
    with pytest.raises(ValueError, match=said):
        declare(row)
    assert known_types() == before


def test_a_connector_that_declares_it_wrongly_is_refused_in_one_line(acme: _Entry) -> None:
    acme.connector = replace(ACME, signals=(replace(PINGED, channel="calls", switch="missed"),))
    with pytest.raises(
        UsageError, match=r"'acme' declares a signal type that cannot be used: acme\.pinged: the switch"
    ):
        registry.load("source", "acme")


def test_a_stored_signal_of_a_connector_that_is_gone_stays_readable() -> None:
    assert a_signal(type="gone.pinged").channel == "gone"


@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        ("custom: {'*': true}", "custom.message.received"),
        ("{custom: {'*': true}, messages: {received: true}}", "message.received"),
        ("{custom: {'*': true}, messages: {received: false}}", "message.received"),
    ],
)
def test_a_newer_type_stays_custom_until_its_switch_is_named(tmp_path: Path, channels: str, kind: str) -> None:
    """An upgrade neither switches off nor renames what a sender of the generic webhook sent before."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"channels: {channels if channels.startswith('{') else '{' + channels + '}'}\n"
        "sources: {shop: {type: webhook, verify: {scheme: bearer, secret: 's3cret-of-shop'}}}\n",
        "utf-8",
    )
    loaded = load_settings(config, {})
    with Store.open(f"sqlite:///{tmp_path}/syncd.db") as store:
        shop = connector_of(loaded, "source", "shop", tokens=store.tokens)
    event = {"specversion": "1.0", "type": "message.received", "source": "/s", "id": "1", "data": {}}
    headers = {"content-type": "application/cloudevents+json"}
    at = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    (signal,) = shop.parse(Request("POST", "https://x.example/", headers, json.dumps(event).encode(), at)).signals
    assert signal.type == kind
