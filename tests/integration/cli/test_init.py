"""`syncd init`: whatever is chosen, what it writes passes `check`; a secret never stands in the YAML; all files or none."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd import registry
from syncd.cli import init as command
from syncd.cli import run
from syncd.scaffold.first_config import ConfigEntry, first_config, questions
from syncd.service.assembly import check_configuration

OUTGOING = {"url": "https://hooks.example.com/canary/", "secret": "whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"}
TYPED = {"webhook": OUTGOING, "bitrix24": {"base_url": "https://portal.example.com/rest/1/canary91d2/"}}
"""Destination -> secrets that must have a form."""
SECRET = "canary-91d2: #{} '\"\\é-us3"  # Mailchimp's API keys end in a data centre
GOOD = {
    "host": "mail.example.com",
    "username": "sales@example.com",
    "path": "./Maildir",
    "account_sid": "AC" + "0" * 32,
    "org_id": "0123",
    "auth.client_id": "3MVG9: yes",
    "verify.username": "hook",
    "verify.header": "x-signature",
    "verify.jwks_url": "https://example.com/jwks",
    "verify.issuer": "https://example.com",
    "verify.insecure": "true",
    "signal.type": "custom.order",
    "auth.username": "robot@example.com",
    "base_url": "https://api.example.com",
    "list.path": "/v1/events",
    "list.since": "from",
    "signal.id": "{{ item.id }}",
    "signal.occurred_at": "{{ item.at }}",
    "login_url": "https://example.my.salesforce.com",
    "app_id": "1034567890123456",  # belongs to page_token
}
"""Right answers to what is free text, beside what config.example.yaml has for a connector."""
ANY = {
    "text": "example",
    "file": "./example",
    "whole number": "5",
    "duration": "5m",
    "list of text": "a, b",
    "list of file": "./example",
}
EXAMPLE = yaml.safe_load((Path(__file__).parents[3] / "config.example.yaml").read_text("utf-8"))
SCHEMES = ("hmac", "bearer", "basic", "path", "jwt", "none", "zendesk")


def in_the_example(entry: ConfigEntry, key: str) -> str:
    """What the example says under a key of the first source or destination of this type; "" if nothing, or a secret's place."""
    told: Any = next((one for one in EXAMPLE[f"{entry.role}s"].values() if one["type"] == entry.type), {})
    for part in key.split("."):
        told = told.get(part, "") if isinstance(told, dict) else ""
    text = ", ".join(map(str, told)) if isinstance(told, list) else str(told)
    return "" if "${" in text or isinstance(told, dict) else text


@st.composite
def entries(draw: st.DrawFn) -> list[ConfigEntry]:
    """Any sources and destinations, each question answered rightly, secrets typed, taken from the environment or left."""
    chosen: list[ConfigEntry] = []
    for role in registry.ROLES:
        for number, kind in enumerate(draw(st.lists(st.sampled_from(registry.names(role)), min_size=1, max_size=3))):
            entry = ConfigEntry(role, f"{role}{number}", kind)
            for question in questions(entry):
                if question.choices:
                    left_out = () if question.required else ("",)
                    answer = draw(st.sampled_from((*left_out, *question.choices)))
                elif question.key == "verify.scheme":
                    answer = draw(st.sampled_from(SCHEMES))
                elif question.secret:
                    typed = TYPED.get(kind, {}).get(question.key) if role == "destination" else ""
                    answer = draw(st.sampled_from(["${SYNCD_TEST_UNSET}", typed or question.suggest or SECRET]))
                else:
                    right = GOOD.get(question.key) or in_the_example(entry, question.key) or question.suggest
                    answer = right or (ANY[question.words] if question.required else "")
                entry.answers[question.key] = "true" if question.key == "verify.insecure" else answer
            chosen.append(entry)
    return chosen


@given(
    chosen=entries(),
    zone=st.sampled_from(["UTC", "Asia/Ho_Chi_Minh"]),
    domains=st.sampled_from(["", "a.example, b.example"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_chosen_passes_check(chosen: list[ConfigEntry], zone: str, domains: str) -> None:
    beginning = first_config({"timezone": zone, "exclude.domains": domains}, chosen)
    assert "canary" not in beginning.config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        command._write(path, beginning, force=False)
        report = check_configuration(path)
        assert report.faults == (), beginning.config
        assert not [warning for warning in report.warnings if "clear text" in warning.message]
        assert not [warning for warning in report.warnings if "no source makes" in warning.message], beginning.config
        read: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        assert len(read["sources"]) + len(read["destinations"]) == len(chosen)
        for name in beginning.secrets:
            assert stat.S_IMODE((Path(folder) / name).stat().st_mode) == 0o600
            kept = (Path(folder) / name).read_text("utf-8").rstrip("\n")
            assert kept in (SECRET, *(text for texts in TYPED.values() for text in texts.values()))


def begin(folder: Path, *args: str) -> tuple[int, str]:
    """Run where there is no terminal."""
    ran = subprocess.run(
        [sys.executable, "-c", "from syncd.cli import main; main()", "init", *args],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr + ran.stdout


CHOICE = ("--source", "inbox=imap", "--destination", "crm=zoho")
ANSWERS = (
    "--set=inbox.host=mail.example.com",
    "--set=inbox.username=a@example.com",
    "--set=crm.auth.client_id=id",
    "--set=crm.data_center=eu",
    "--set=region=VN",
)


def test_without_a_terminal(tmp_path: Path) -> None:
    code, said = begin(tmp_path, *CHOICE, *ANSWERS, f"--set=inbox.password={SECRET}", "--json")
    assert code == 0, said
    told = json.loads(said)
    assert [Path(name).name for name in told["files"]] == [
        "zoho.yaml",
        "zoho.tests.yaml",
        "inbox.password",
        "config.yaml",
    ]
    assert "syncd auth crm" in told["next"]
    assert any("CRM_AUTH_CLIENT_SECRET" in step for step in told["next"])
    assert SECRET not in said + (tmp_path / "config.yaml").read_text("utf-8")


def test_the_type_that_a_map_makes_is_switched_on(tmp_path: Path) -> None:
    given = {"base_url": "https://api.acme.example", "list.path": "/v1/x", "list.since": "from"}
    given |= {"signal.type": "survey.responded", "signal.id": "{{ item.id }}", "signal.occurred_at": "{{ item.at }}"}
    answers = [f"--set=answers.{key}={value}" for key, value in given.items()]
    code, said = begin(
        tmp_path, "--source=answers=http", "--destination=database", *answers, "--set=database.url=sqlite:///a.db"
    )
    assert code == 0, said
    assert yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8"))["channels"] == {"survey": {"responded": True}}


def test_mail_that_is_not_read_is_not_switched_on(tmp_path: Path) -> None:
    answers = ("--set=inbox.host=mail.example.com", "--set=inbox.username=a@example.com", "--set=crm.auth.client_id=id")
    code, said = begin(tmp_path, *CHOICE, *answers)
    assert code == 0, said
    assert check_configuration(tmp_path / "config.yaml").warnings == ()
    assert "email_sent" not in yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8"))["channels"]["outgoing"]


@pytest.mark.parametrize(
    ("source", "called"),
    [("brevo", True), ("zeptomail", True), ("imap", False)],
)
def test_next_steps_where_no_placeholder_can_stand_for_a_secret(tmp_path: Path, source: str, called: bool) -> None:
    answers = ("--set=s.host=mail.example.com", "--set=s.username=a@example.com") if source == "imap" else ()
    code, said = begin(tmp_path, f"--source=s={source}", "--destination=out=webhook", *answers, "--json")
    assert code == 0, said
    steps = json.loads(said)["next"]
    assert ("s: let the sender call https://YOUR.HOST/webhooks/s" in steps) == called, steps
    assert any("docs/connectors/webhook_out.md" in step for step in steps), steps
    assert any("OUT_URL" in step and "OUT_SECRET" in step for step in steps), steps


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "unanswered, and there is no terminal to ask on: --source TYPE (asterisk, brevo, "),
        ((), "--destination TYPE (bitrix24, "),
        (("--source", "imap"), "--destination TYPE (bitrix24, "),
        (("--source", "imap"), "--set imap.username=… (for example sales@example.com)"),
        ((*CHOICE, "--set=inbox.host=x"), "--set crm.auth.client_id=…"),
        (("--source", "imapp", "--destination", "zoho"), "did you mean imap?"),
        (CHOICE, "unanswered, and there is no terminal to ask on: --set inbox.username=…"),
        ((*CHOICE, *ANSWERS, "--set=inbox.hots=x"), "unknown key (did you mean host?)"),
        ((*CHOICE, *ANSWERS, "--set=nobody.host=x"), "there is no such key"),
        ((*CHOICE, *ANSWERS, "--set=timezone=Mars/Base"), "'Mars/Base' is not a time zone name"),
        ((*CHOICE, *ANSWERS, "--set=crm.data_center=mars"), "destinations.crm.data_center"),
        ((*CHOICE, "--set", "nonsense"), "write KEY=VALUE"),
        (("--source", "A=imap", "--destination", "zoho"), "no name"),
    ],
)
def test_what_cannot_be(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    code, told = begin(tmp_path, *args)
    assert (code, len(told.splitlines())) == (2, 1), told
    assert said in told
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "zoho.yaml").write_text("mine", "utf-8")
    code, said = begin(tmp_path, *CHOICE, *ANSWERS)
    assert code == 2
    assert "zoho.yaml is there already; --force writes over it" in said
    assert not (tmp_path / "config.yaml").exists()
    assert begin(tmp_path, *CHOICE, *ANSWERS, "--force")[0] == 0
    assert (tmp_path / "mappings" / "zoho.yaml").read_text("utf-8") != "mine"
    code, said = begin(tmp_path, *CHOICE, *ANSWERS)
    assert (code, "config.yaml is there already" in said) == (2, True)


def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of moving them into place."""
    monkeypatch.chdir(tmp_path)
    moved = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == "config.yaml":
            raise KeyboardInterrupt
        return moved(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    assert run(["init", *CHOICE, *ANSWERS, "--yes"]) == 130
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Terminal:
    """A person at a terminal."""

    def __init__(self, folder: Path) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execv(sys.executable, [sys.executable, "-c", "from syncd.cli import main; main()", "init"])  # noqa: S606
        self.seen = ""
        self._read = 0

    def answer(self, asked: str, typed: str) -> None:
        self.until(asked)
        os.write(self._fd, typed.encode() + b"\n")

    def until(self, text: str) -> None:
        """Reads on until the text comes, and past it."""
        while (place := self.seen.find(text, self._read)) < 0:
            assert select.select([self._fd], [], [], 60)[0], self.seen
            self.seen += os.read(self._fd, 4096).decode("utf-8", "replace")
        self._read = place + len(text)

    def end(self) -> int:
        """Its exit code. One that does not end is killed."""
        while select.select([self._fd], [], [], 60)[0]:
            try:
                more = os.read(self._fd, 4096)
            except OSError:  # Linux says so when the other side is gone
                break
            self.seen += more.decode("utf-8", "replace")
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_on_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.answer("sources, with spaces between:", "imapp")
    terminal.answer("there is no imapp", "inbox=imap")
    terminal.answer("destinations, with spaces between:", "database")
    terminal.answer("region: ", "vietnam")
    terminal.answer("is not a country code", "vn")
    for asked in ("timezone [", "database [", "public_url: ", "exclude.domains: "):
        terminal.answer(asked, "")
    terminal.answer("username: ", "")
    terminal.answer("username is required; for example sales@example.com", "sales@example.com")
    terminal.answer("preset (gmail, microsoft365, zoho_mail): ", "")
    terminal.answer("host: ", "mail.example.com")
    terminal.answer("Enter for ${INBOX_PASSWORD}: ", SECRET)
    terminal.answer("url [", "")
    assert terminal.end() == 0, terminal.seen
    assert "canary" not in terminal.seen
    assert check_configuration(tmp_path / "config.yaml").faults == ()
    assert "region: VN" in (tmp_path / "config.yaml").read_text("utf-8")
    assert (tmp_path / "secrets" / "inbox.password").read_text("utf-8").strip() == SECRET


def test_next_steps_are_in_their_order(tmp_path: Path) -> None:
    code, said = begin(tmp_path, *CHOICE, *ANSWERS, "--json")
    assert code == 0, said
    steps = [step for step in json.loads(said)["next"] if step.startswith("syncd ")]
    assert steps == ["syncd check", "syncd auth crm", "syncd check --online", "syncd prepare crm", "syncd run"]


def test_a_postgresql_gets_a_key(tmp_path: Path) -> None:
    url = "--set=database=postgresql+psycopg://syncd@127.0.0.1/syncd"
    code, said = begin(tmp_path, *CHOICE, *ANSWERS, url)
    assert code == 0, said
    assert check_configuration(tmp_path / "config.yaml").faults == ()
    assert len((tmp_path / "secrets" / "secret_key").read_text("utf-8").strip()) >= 32


def test_a_webhook_is_asked_for_its_format(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.answer("sources, with spaces between:", "shop=webhook")
    terminal.answer("destinations, with spaces between:", "database")
    for asked in ("region: ", "timezone [", "database [", "public_url: ", "exclude.domains: "):
        terminal.answer(asked, "")
    terminal.answer("verify.scheme", "")
    terminal.answer("is required", "bearer")
    terminal.answer("Enter for ${SHOP_VERIFY_SECRET}: ", SECRET)
    terminal.answer("format (cloudevents, json, form) [json]", "xml")
    terminal.answer("there are: cloudevents, json, form", "json")
    terminal.answer("signal.type: ", "")
    terminal.answer("signal.type is required; for example custom.order", "custom.order")
    terminal.answer("url [", "nonsense")
    terminal.answer("is not a database URL", "sqlite:///./signals.db")
    assert terminal.end() == 0, terminal.seen
    assert check_configuration(tmp_path / "config.yaml").faults == ()
    read = yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8"))
    assert read["sources"]["shop"] | {"verify": ""} == {
        "type": "webhook", "verify": "", "format": "json", "signal": {"type": "custom.order"}
    }  # fmt: skip


def test_ctrl_c_at_a_question(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.answer("sources, with spaces between:", "imap")
    terminal.until("destinations, with spaces between:")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130, terminal.seen
    assert "syncd: interrupted" in terminal.seen
    assert list(tmp_path.iterdir()) == []
