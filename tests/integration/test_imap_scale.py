"""Large and many mailboxes: commands are counted, not seconds (`python -m bench mailbox` measures 50,000 mails)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from bench.mailbox import BEGIN, commands, put
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.connector import Context
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.http.oauth import MemoryTokens
from syncd.intake.intake import Intake
from syncd.store import Store
from syncd.store.schema import signals
from syncd.testing.ledger import SourceLedger
from tests.dovecot_server import Dovecot
from tests.mails import mail

MANY = 3000
SESSION = 4  # capability, login, examine, logout: a new connection to one folder, whatever is in it


def source(server: Dovecot, user: str, **keys: Any) -> ImapSource:
    plain = {"host": server.host, "port": server.port, "tls": "none", "username": user, "password": server.password}
    return ImapSource(ImapSettings.model_validate(plain | keys), Context(name="inbox", tokens=MemoryTokens()))


def test_what_is_asked_grows_with_what_is_new_alone(server: Dovecot) -> None:
    user = "large@ourcompany.example"
    with server.client(user) as client:
        client.select("INBOX")
    put(server.maildir(user), 0, MANY)
    ledger = SourceLedger(connect=lambda: source(server, user), now=datetime.now(UTC))
    with commands() as sent:
        ledger.start()
    assert sent[0] <= SESSION + 1
    with commands() as sent:
        assert ledger.poll() == []
    assert sent[0] <= SESSION + 2
    put(server.maildir(user), MANY, 100)
    with commands() as sent:
        assert len(ledger.poll()) == 100
    assert sent[0] <= SESSION + 2 + 2 * 2  # sizes and bodies of two pages
    with commands() as sent:
        got = ledger.backfill(BEGIN, BEGIN + timedelta(minutes=MANY))
    assert len(got) == MANY
    assert sent[0] <= SESSION + 2 + 2 * (MANY + 100) / 50  # the search knows days only: the new ones are looked at too


def test_several_accounts_and_folders_at_once(server: Dovecot, sqlite_url: str) -> None:
    users = [f"desk{number}@ourcompany.example" for number in range(5)]
    folders = ["INBOX", "Sales", "Support", "Billing"]
    for user in users:
        with server.client(user) as client:
            client.select("INBOX")
            for folder in folders[1:]:
                client.create(folder)
    sources = {f"box{number}": source(server, user, folders=folders) for number, user in enumerate(users)}
    settings = Settings(
        channels={"email": {"received": True}},
        sources={name: SourceSettings(name=name, type="imap", poll=timedelta(hours=1)) for name in sources},
        destinations={"crm": DestinationSettings(name="crm", type="x")},
    )
    with Store.open(sqlite_url, key_source="k" * 40) as store:
        intake = Intake(store, settings, sources)
        intake.start()
        try:
            wait_for(lambda: len(intake.counts.polls) == 5 and all(store.cursors.read(name) for name in sources))
            for number, user in enumerate(users):
                for place, folder in enumerate(folders):
                    server.append(user, mail(number * 10 + place), folder)
            for name in sources:
                intake.wake(name)
            wait_for(lambda: _count(store) == len(users) * len(folders))
            assert not any(health.error for health in store.sources.all().values())
        finally:
            intake.stop(5)


def _count(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(signals)).scalar_one()


def wait_for(true: Any, seconds: float = 30) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come about")
