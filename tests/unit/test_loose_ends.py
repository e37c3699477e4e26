"""What a valid configuration says to no purpose, and what `check` refuses although every key is right by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.config.models import ServerSettings
from syncd.service.assembly import check_configuration

MAIL = "sources: {inbox: {type: maildir, path: ./M}}\n"
OUT = "destinations: {archive: {type: database, url: 'sqlite:///./out.db'}}\n"
HOOK = "sources: {{forms: {{type: webhook, verify: {{scheme: none, insecure: true}}, format: json, signal: {{type: {type}}}}}}}\n"
FILE = "sources: {people: {type: file, path: ./F, as: contact}}\n"
ON = "channels: {email: {received: true}}\n"


def warned(folder: Path, text: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    report = check_configuration(path)
    assert not report.faults
    return [f"{warning.line} {warning.key}: {warning.message}" for warning in report.warnings]


def faulted(folder: Path, text: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return [f"{fault.key}: {fault.message}" for fault in check_configuration(path).faults]


ANSWERED = """
rules:
  - {id: call, name: Call, signals: [email.received], live_only: true, upsert: calls, key: key, fields: {state: open}}
  - {id: done, name: Done, signals: [email.received], on: answered, update: {record: call}, fields: {state: closed}}
"""


@pytest.mark.parametrize(
    ("switch", "only", "warns"),
    [
        ("false", "['*']", True),
        ("true", "['*']", False),
        ("true", "['email.received']", True),
        ("true", "[email.*]", False),
    ],
)
def test_rules_that_wait_for_answers_which_never_come(tmp_path: Path, switch: str, only: str, warns: bool) -> None:
    (tmp_path / "salesforce.yaml").write_text(ANSWERED, "utf-8")
    on = f"channels: {{email: {{received: true}}, outgoing: {{email_sent: {switch}}}}}\n"
    auth = "{flow: client_credentials, client_id: a, client_secret: '${SECRET}'}"
    login = f"type: salesforce, login_url: 'https://example.my.salesforce.com', auth: {auth}"
    out = f"destinations: {{crm: {{{login}, mapping: salesforce.yaml, only: {only}}}}}\n"
    found = [one for one in warned(tmp_path, on + MAIL + out) if "on: answered" in one]
    assert found == (["3 destinations.crm: its mapping has rules with on: answered, and no answers go there"] * warns)


def test_all_in_use(tmp_path: Path) -> None:
    assert warned(tmp_path, ON + MAIL + OUT) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "channels: {email: {received: true}, calls: {missed: true}}\n" + MAIL + OUT,
            "1 channels.calls.missed: is on, and no",
        ),
        ("channels: {email: {received: true}, custom: {order: true}}\n" + MAIL + OUT, "1 channels.custom.order: is on"),
        (
            "channels: {email: {received: true}, desk: {created: [lead]}}\n" + MAIL + OUT,
            "1 channels.desk.created: is on",
        ),
        ("channels: {email: {received: false}}\n" + MAIL + OUT, "2 sources.inbox: nothing becomes a signal"),
        (MAIL + OUT, "1 sources.inbox: nothing becomes a signal"),
        (
            ON + HOOK.format(type="survey.responded") + OUT,
            "2 sources.forms: nothing becomes a signal: survey.responded is off",
        ),
        (
            ON + HOOK.format(type="call.answered") + OUT,
            "2 sources.forms: nothing becomes a signal: custom.call.answered is off",
        ),
        (ON + HOOK.format(type="order") + OUT, "2 sources.forms: nothing becomes a signal: custom.order is off"),
        (ON + FILE + OUT, "2 sources.people: nothing becomes a signal: contact.changed is off"),
        (ON + HOOK.format(type="order") + OUT, "1 channels.email.received: is on, and no source makes email.received"),
        (ON + MAIL + OUT.replace("url", "only: [ticket.*], url"), "3 destinations.archive.only: nothing goes there"),
        (ON + OUT, "sources: there is no source"),
        (ON + MAIL, "destinations: there is no destination"),
    ],
)
def test_loose_ends(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in line for line in warned(tmp_path, text)), warned(tmp_path, text)


@pytest.mark.parametrize(
    ("sources", "switch", "command"),
    [
        (MAIL, "email: {received: true}", "email.received"),
        (HOOK.format(type="order"), "custom: {order: true}", "custom.order"),
        (HOOK.format(type="call.answered"), "outgoing: {call_answered: true}", "call.answered"),
    ],
)
def test_the_switch_to_set_is_named(tmp_path: Path, sources: str, switch: str, command: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(sources + OUT, "utf-8")
    hint = next(each.hint for each in check_configuration(path).warnings if each.key.startswith("sources."))
    assert hint == f"set `{switch}` under channels:, or run `syncd channels enable {command}`"
    path.write_text(sources + OUT + f"channels: {{{switch}}}\n", "utf-8")
    assert not [each for each in check_configuration(path).warnings if each.key.startswith("sources.")]


@pytest.mark.parametrize(
    "text",
    [
        "channels: {email: {received: true}, contacts: {contact_changed: true}}\n" + MAIL + OUT,  # `import` makes these
        "channels: {email: {received: true}, calls: {missed: false}}\n" + MAIL + OUT,
        "channels: {calls: {missed: true}, custom: {'*': true}}\n"
        "sources: {any: {type: webhook, verify: {scheme: none, insecure: true}}}\n" + OUT,
    ],
)
def test_no_loose_end(tmp_path: Path, text: str) -> None:
    assert not [line for line in warned(tmp_path, text) if "channels" in line]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "{}\n", "null\n"])
def test_an_empty_file_is_a_fault(tmp_path: Path, text: str) -> None:
    assert faulted(tmp_path, text) == [": the file is empty"]


@pytest.mark.parametrize(
    "listen",
    ["1:2:3", "::1:80", "[::1:80", "[1.2.3.4]:80", "1.2.3:80", "300.1.1.1:80", "a b:80", "http://x:80", "x/y:80", "x:",
     ":80", "x:65536", "x:８０", "x:-1", "x:+1", "-x:80", "a..b:80", "[::g]:80", "x:80:"],
)  # fmt: skip
def test_what_nobody_can_listen_on(listen: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        ServerSettings(listen=listen)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "0.0.0.0:8420", "[::1]:8420", "[::]:80", "localhost:80", "my-host.example.com:65535"]
)
def test_where_one_can_listen(listen: str) -> None:
    assert f"{ServerSettings(listen=listen).host}" in listen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("database: postgresql+psycopg://u@h/d\n", "database: secret_key: tokens are stored encrypted, and PostgreSQL"),
        (
            "database: postgresql+psycopg://u@h/d\nsecret_key: short\n",
            "secret_key: secret_key: 5 characters are too few",
        ),
        ("secret_key: short\n", "secret_key: secret_key: 5 characters are too few"),
    ],
)
def test_a_key_that_the_database_needs(tmp_path: Path, text: str, said: str) -> None:
    found = faulted(tmp_path, text + ON + MAIL + OUT)
    assert any(line.startswith(said) for line in found), found


@pytest.mark.parametrize(
    "text",
    [
        f"database: postgresql+psycopg://u@h/d\nsecret_key: {'k' * 32}\n",
        "database: postgresql+psycopg://u@h/d\nsecret_key: ${UNSET}\n",
    ],
)
def test_a_key_that_is_there_or_only_unset(tmp_path: Path, text: str) -> None:
    assert faulted(tmp_path, text + ON + MAIL + OUT) == []
