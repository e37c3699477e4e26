"""What `check --online` finds of each source: real mailboxes, twins, and our own public address."""

from __future__ import annotations

import http.server
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.capabilities import Finding, Level, OnlineCheck
from syncd.config.loading import load_settings
from syncd.connector import Context
from syncd.connectors.generic.webhook import Webhook, WebhookSettings
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.connectors.mail.maildir import MaildirSettings, MaildirSource
from syncd.connectors.phone.twilio import CONNECTOR as TWILIO
from syncd.connectors.phone.twilio import TwilioSettings
from syncd.errors import Failure, Misconfigured
from syncd.http.oauth import MemoryTokens
from syncd.preflight.parts import source as asked
from syncd.preflight.reach import reach
from syncd.service.daemon import Daemon
from syncd.twins.twilio import TwilioTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.desk import House
from tests.dovecot_server import Dovecot
from tests.integration.online.conftest import said
from tests.mails import mail
from tests.servers import free_port
from tests.user_folder import SECRETS, UserFolder

HERE = Context(name="it", tokens=MemoryTokens())


def found(source: Any) -> dict[str, Finding]:
    assert isinstance(source, OnlineCheck)
    return {finding.what: finding for finding in source.check_online()}


# -------------------------------------------------------------------------------------------------------------- mail


def imap(server: Dovecot, user: str, **keys: Any) -> ImapSource:
    plain = {"host": server.host, "port": server.port, "tls": "none", "username": user, "password": server.password}
    return ImapSource(ImapSettings.model_validate(plain | keys), HERE)


def test_imap_signs_in_and_opens_each_folder(server: Dovecot) -> None:
    user = f"{uuid.uuid4().hex[:12]}@ourcompany.example"
    server.append(user, mail(1, at=datetime.now(UTC)))
    seen = found(imap(server, user, folders=("INBOX", "Absent")))
    assert "IDLE" in seen["sign-in"].message
    assert (seen["folder INBOX"].level, seen["folder INBOX"].message) == (Level.OK, "opened, 1 mails")
    assert seen["folder Absent"].level is Level.FAULT
    assert "there is no folder 'Absent'" in seen["folder Absent"].message


def test_imap_with_a_wrong_password(server: Dovecot) -> None:
    with pytest.raises(Misconfigured, match="check username and password"):
        found(imap(server, "an@ourcompany.example", password="wrong-canary"))


def test_maildir(tmp_path: Path) -> None:
    for part in ("new", "cur", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / "new" / "1.host").write_bytes(b"Subject: x\n\ny")
    seen = found(MaildirSource(MaildirSettings(path=tmp_path, folders=("INBOX", "Absent")), HERE))
    assert seen["folder INBOX"].message == "readable, 1 mails"
    assert seen["folder Absent"].level is Level.FAULT


# ----------------------------------------------------------------------------------------------------- phone and desk


def twilio(twin: TwilioTwin, token: str = "", numbers: tuple[str, ...] = (), **more: Any) -> Any:
    settings = TwilioSettings.model_validate(
        {
            "account_sid": twin.account_sid,
            "auth_token": token or twin.auth_token,
            "base_url": twin.url,
            "numbers": numbers,
        }
    )
    return TWILIO.build(settings, Context(name="phones", tokens=MemoryTokens(), **more))


def test_twilio() -> None:
    with TwilioTwin(numbers=["+14155550100"]) as twin:
        seen = found(twilio(twin, numbers=("+14155550100", "+14155550199")))
        assert (seen["sign-in"].message, seen["calls"].level) == ("account Twin (Full)", Level.OK)
        assert seen["number +14155550100"].level is Level.OK
        assert seen["number +14155550199"].level is Level.FAULT
        assert "clock" not in seen
        late = found(twilio(twin, clock=lambda: datetime.now(UTC) - timedelta(minutes=9)))
        assert late["clock"].level is Level.WARNING
        with pytest.raises(Misconfigured, match="auth_token is wrong"):
            found(twilio(twin, token="wrong"))


def test_zoho_desk() -> None:
    with ZohoDeskTwin() as twin:
        house = House(twin)
        assert [one.level for one in house.source.check_online()] == [Level.OK, Level.OK]
        house = House(twin, departments=["1"])
        seen = found(house.source)
        assert (seen["department 1"].level, "there are:" in seen["department 1"].remedy) == (Level.FAULT, True)
    for on, told in (("search_tickets", 0), ("list_contacts", 1)):
        with ZohoDeskTwin(faults=[{"on": on, "do": "scope"}]) as twin:
            findings: list[Finding] = []
            with pytest.raises(Failure, match=r"Desk\.search\.READ, Desk\.contacts\.READ"):
                findings.extend(House(twin).source.check_online())
            assert len(findings) <= told
    with ZohoDeskTwin(faults=[{"on": "list_departments", "do": "scope"}]) as twin:
        assert found(House(twin, departments=["1"]).source)["departments"].level is Level.WARNING


# ------------------------------------------------------------------------------------------------------------ webhooks


def webhook(**verify: Any) -> Webhook:
    return Webhook(WebhookSettings.model_validate({"verify": verify}), HERE)


def test_a_webhook_says_how_it_knows_its_senders() -> None:
    assert found(webhook(scheme="bearer", secret="s" * 32))["verify"].level is Level.OK
    assert found(webhook(scheme="none", insecure=True))["verify"].level is Level.WARNING


def test_keys_that_cannot_be_had() -> None:
    url = f"http://127.0.0.1:{free_port()}/keys"
    lines = list(asked("it", webhook(scheme="jwt", jwks_url=url, audience=["us"], issuer="them"), ""))
    assert [(line.what, line.level) for line in lines] == [
        ("verify", Level.OK),
        ("reachable", Level.WARNING),
        ("keys", Level.FAULT),
    ]


class _Else(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Welcome to nginx</h1>")

    def log_message(self, *_: Any) -> None:
        return


def test_an_address_that_is_something_else() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Else) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        (one,) = reach(f"http://127.0.0.1:{other.server_address[1]}", "forms")
        other.shutdown()
    assert (one.level, "something other than syncd" in one.message) == (Level.WARNING, True)


def test_addresses_that_lead_nowhere() -> None:
    (one,) = reach(f"http://127.0.0.1:{free_port()}", "forms")
    assert (one.level, "not reachable from here" in one.message) == (Level.WARNING, True)
    (one,) = reach("", "forms")
    assert "server.public_url is not set" in one.message
    (one,) = reach("http://syncd.example.com", "forms")
    assert one.remedy == "vendors call https addresses only"


def test_our_own_address(folder: UserFolder) -> None:
    port = free_port()
    text = (folder.path / "config.yaml").read_text("utf-8")
    here = text.replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"').replace(
        "https://syncd.example.com", f"http://127.0.0.1:{port}"
    )
    folder.write("config.yaml", here)
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        assert said(folder, "forms")["forms reachable"]["level"] == "ok"
        (one,) = reach(f"http://127.0.0.1:{port}", "other")
        assert "a syncd that has no source other" in one.message
    finally:
        daemon.stop()
