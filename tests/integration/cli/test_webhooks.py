"""`syncd webhooks` against the vendors' twins, which call a real daemon back: registered, received, lost and found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import requests

from syncd.config.loading import load_settings
from syncd.intake.subscriptions import SubscriptionLook
from syncd.service.daemon import Daemon
from syncd.store.subscriptions import registered
from syncd.twins.twilio import TwilioTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.chaos import processes
from tests.servers import free_port
from tests.user_folder import SECRETS, UserFolder

until = partial(processes.until, within=20.0)

TOKEN = SECRETS["TWILIO_TOKEN"]
OURS, THEIRS = "+842412345678", "+842487654321"


@dataclass
class House:
    """A user's directory whose sources are twins, and the daemon that runs by it."""

    folder: UserFolder
    desk: ZohoDeskTwin
    phone: TwilioTwin
    daemon: Daemon

    def url(self, source: str) -> str:
        return f"{self.daemon.settings.server.public_url}/webhooks/{source}"

    def degraded(self) -> list[str]:
        return list(requests.get(f"{self.daemon.url}/readyz", timeout=20).json()["degraded"])

    def degraded_after_a_look(self, source: str) -> list[str]:
        """What is degraded once a look has found something: the daemon's own look, the first of a source, may be under way and
        end after ours."""

        def found() -> bool:
            self.look(source)
            return bool(self.degraded())

        until(found, "a look finds it")
        return self.degraded()

    def look(self, source: str) -> None:
        """The daily look, now."""
        made = self.daemon.intake.sources[source]
        SubscriptionLook(source, made, self.daemon.store).run(None)  # type: ignore[arg-type]


def lay_down(folder: UserFolder, desk: ZohoDeskTwin, phone: TwilioTwin, port: int, more: str = "") -> None:
    auth = "{client_id: id, client_secret: '${SF_SECRET}', refresh_token: '${ARCHIVE_PASSWORD}'}"
    folder.write(
        "config.yaml",
        f"""\
server: {{listen: "127.0.0.1:{port}", public_url: "http://127.0.0.1:{port}"}}
channels: {{calls: {{missed: true}}, desk: {{created: true}}, custom: {{"*": true}}}}
sources:
  inbox: {{type: maildir, poll: 1h, path: ./Maildir}}
  forms: {{type: webhook, verify: {{scheme: bearer, secret: "${{FORMS_SECRET}}"}}, format: cloudevents}}
  desk:
    type: zoho_desk
    poll: 1h
    org_id: "{desk.org_id}"
    base_url: {desk.url}
    accounts_url: {desk.url}
    auth: {auth}
    {more}
  phones:
    type: twilio
    poll: 1h
    account_sid: {phone.account_sid}
    auth_token: ${{TWILIO_TOKEN}}
    base_url: {phone.url}
    numbers: ["{OURS}"]
destinations:
  archive: {{type: database, url: "sqlite:///./signals.db", mapping: mappings/database.yaml}}
""",
    )


@pytest.fixture
def house(folder: UserFolder) -> Iterator[House]:
    with ZohoDeskTwin() as desk, TwilioTwin(auth_token=TOKEN) as phone:
        lay_down(folder, desk, phone, free_port())
        daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
        daemon.start()
        try:
            yield House(folder, desk, phone, daemon)
        finally:
            daemon.stop()


def test_desk_calls_what_was_registered(house: House) -> None:
    ran = house.folder.done("webhooks", "register", "desk")
    assert f"desk: the vendor calls {house.url('desk')}" in ran.err
    (kept,) = house.desk.records("webhooks")
    assert kept["subscriptions"] == {
        "Ticket_Add": None,
        "Ticket_Update": None,
        "Ticket_Comment_Add": None,
        "Ticket_Thread_Add": {"direction": "in"},
    }
    contact = house.desk.add("contacts", lastName="Doe", email="jane@x.example")
    ticket = house.desk.add("tickets", subject="It is broken", contactId=contact)
    event = {"eventType": "Ticket_Add", "payload": {"id": ticket}}
    until(lambda: house.desk.deliver(event) == [200], "the keys of a daemon that has just started are there")
    until(lambda: house.folder.ids(), "the ticket becomes a signal")
    (made,) = house.folder.done("--json", "signals", "list").lines
    assert made["type"] == "ticket.created"


def test_registering_again_changes_nothing_and_mends_what_was_changed(house: House) -> None:
    house.folder.done("webhooks", "register", "desk")
    posts = house.desk.counts["op:create_webhook"]
    house.folder.done("webhooks", "register", "desk")
    assert (house.desk.counts["op:create_webhook"], house.desk.counts["op:update_webhook"]) == (posts, 0)
    (row,) = house.desk.records("webhooks")
    house.desk.store.put("webhooks", row["id"], {**row, "isEnabled": False, "subscriptions": {"Ticket_Add": None}})
    house.folder.done("webhooks", "register", "desk")
    (mended,) = house.desk.records("webhooks")
    assert (mended["id"], mended["isEnabled"], len(mended["subscriptions"])) == (row["id"], True, 4)


def test_an_address_that_does_not_answer_is_told(folder: UserFolder) -> None:
    with ZohoDeskTwin() as desk, TwilioTwin(auth_token=TOKEN) as phone:
        lay_down(folder, desk, phone, free_port())
        ran = folder.syncd("webhooks", "register", "desk")
        assert ran.code == 1
        assert "it asks its address for a 200 first: is syncd running" in ran.err
        assert desk.records("webhooks") == []


def test_an_edition_without_webhooks_and_a_token_without_the_scopes_are_told(house: House) -> None:
    house.desk.webhooks_allowed = 0
    assert "webhooks need the edition Professional" in house.folder.syncd("webhooks", "register", "desk").err
    house.desk.plan.add([{"do": "scope", "on": "list_webhooks"}])
    ran = house.folder.syncd("webhooks", "list", "desk")
    assert (ran.code, "webhooks need the scopes Desk.webhooks.READ" in ran.err) == (1, True)


def test_an_id_that_the_source_would_refuse_is_told(folder: UserFolder) -> None:
    with ZohoDeskTwin() as desk, TwilioTwin(auth_token=TOKEN) as phone:
        lay_down(folder, desk, phone, free_port(), 'webhook_ids: ["1"]')
        daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
        daemon.start()
        try:
            assert "to webhook_ids of this source" in folder.done("webhooks", "register", "desk").err
        finally:
            daemon.stop()


def test_twilio_calls_what_was_registered(house: House) -> None:
    mine, other = house.phone.add_number(OURS), house.phone.add_number(THEIRS, status_callback="https://x.example/")
    house.folder.done("webhooks", "register", "phones")
    rows = {row["sid"]: row["status_callback"] for row in house.phone.records("numbers")}
    assert rows == {mine: house.url("phones"), other: "https://x.example/"}, "only the configured number"
    call = house.phone.add("calls", status="no-answer", to=OURS, **{"from": "+84912345678"})
    assert house.phone.report(call) == [200]
    until(lambda: house.folder.ids(), "the call becomes a signal")
    posts = house.phone.counts["op:update_number"]
    house.folder.done("webhooks", "register", "phones")
    assert house.phone.counts["op:update_number"] == posts


def test_what_somebody_else_set_is_not_taken_over_silently(house: House) -> None:
    house.phone.add_number(OURS, status_callback="https://else.example/calls")
    ran = house.folder.syncd("webhooks", "register", "phones")
    assert ran.code == 1
    assert f"{OURS} reports to https://else.example/calls: another address is already set there; --force" in ran.err
    assert house.phone.records("numbers")[0]["status_callback"] == "https://else.example/calls"
    house.folder.done("webhooks", "register", "phones", "--force")
    assert house.phone.records("numbers")[0]["status_callback"] == house.url("phones")


def test_a_number_that_is_not_there_is_told(house: House) -> None:
    house.phone.add_number(THEIRS)
    ran = house.folder.syncd("webhooks", "register", "phones")
    assert (ran.code, "Twilio has none of these numbers in this account" in ran.err) == (1, True)


def test_list_and_remove(house: House) -> None:
    house.phone.add_number(OURS)
    foreign = house.phone.add_number(THEIRS, status_callback="https://x.example/")
    house.folder.done("webhooks", "register", "phones")
    rows = {row["id"]: row for row in house.folder.done("--json", "webhooks", "list", "phones").lines}
    assert [row["ours"] for row in rows.values()] == [True, False]
    ran = house.folder.syncd("webhooks", "remove", "phones", foreign)
    assert (ran.code, "it does not belong to this source, so it is not removed" in ran.err) == (2, True)
    # The daemon in this process may write its first log lines in between.
    assert house.folder.done("webhooks", "remove", "phones").err.splitlines()[-1:] == ["1 removed"]
    assert house.folder.done("webhooks", "remove", "phones").err.splitlines()[-1:] == ["no webhook points here"]
    assert sorted(row["status_callback"] for row in house.phone.records("numbers")) == ["", "https://x.example/"]
    house.folder.done("webhooks", "register", "desk")
    house.folder.done("webhooks", "remove", "desk")
    assert house.desk.records("webhooks") == []
    assert registered(house.daemon.store, "desk") == ()


def test_a_webhook_that_the_vendor_dropped_is_shown_until_it_is_mended(house: House) -> None:
    house.folder.done("webhooks", "register", "desk")
    house.look("desk")
    assert house.degraded() == []
    (row,) = house.desk.records("webhooks")
    house.desk.store.put("webhooks", row["id"], {**row, "isEnabled": False})
    (fault,) = house.degraded_after_a_look("desk")
    assert fault == (
        f"source desk: its webhook at the vendor has changed: {row['id']} disabled there; "
        "`syncd webhooks register desk` repairs it"
    )
    assert fault in house.folder.done("status").err
    house.desk.store.put("webhooks", row["id"], None)
    house.look("desk")
    until(lambda: "gone at the vendor" in house.degraded_after_a_look("desk")[0], "it is gone")
    house.folder.done("webhooks", "register", "desk")
    assert house.degraded() == []


def test_a_source_that_was_not_registered_through_syncd_is_not_asked(house: House) -> None:
    before = house.desk.counts["op:list_webhooks"]
    house.look("desk")
    assert house.desk.counts["op:list_webhooks"] == before


def test_a_look_that_fails_says_nothing_and_comes_again(house: House) -> None:
    house.folder.done("webhooks", "register", "desk")
    house.desk.plan.add([{"do": "internal", "on": "list_webhooks", "times": 9}])
    made = house.daemon.intake.sources["desk"]
    assert SubscriptionLook("desk", made, house.daemon.store).run(None) is not None  # type: ignore[arg-type]
    assert house.degraded() == []


def test_by_hand(house: House) -> None:
    started = house.daemon.store.cursors.read
    until(lambda: all(started(name) for name in ("inbox", "desk", "phones")), "the daemon has logged its first polls")
    ran = house.folder.done("webhooks", "register", "forms")
    assert ran.out == house.url("forms") + "\n"
    assert "its vendor has no API for this: paste the address" in ran.err
    assert house.folder.done("--json", "webhooks", "list", "forms").record["by_hand"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("register", "inbox"), "source inbox (maildir) takes no webhooks; it is read on its schedule"),
        (("register", "nowhere"), "no source 'nowhere'; there are: inbox, forms"),
        (("remove", "forms"), "its vendor has no API for webhooks"),
    ],
)
def test_mistakes(folder: UserFolder, words: tuple[str, ...], said: str) -> None:
    ran = folder.syncd("webhooks", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.err


def test_without_a_public_url_nobody_can_call(folder: UserFolder) -> None:
    text = (folder.path / "config.yaml").read_text("utf-8")
    folder.write("config.yaml", text.replace(', public_url: "https://syncd.example.com"', ""))
    ran = folder.syncd("webhooks", "register", "forms")
    assert (ran.code, "server.public_url is not set" in ran.err) == (2, True)
