"""Stored tokens on both databases: encrypted, refreshed once by threads and processes, never lost in a rotation."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from syncd.errors import Misconfigured, Transient, UsageError
from syncd.http.oauth import Token
from syncd.signin.watcher import SignInWatcher, announce
from syncd.store import Store
from syncd.store.announcements import Announcements
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import tokens
from syncd.store.tokens import StoredTokens
from syncd.twins.salesforce.twin import SalesforceTwin
from tests.entries import MOMENT

KEY = "k" * 40


class Vendor:
    """Mints numbered tokens, each rotation using up the refresh token it was given."""

    def __init__(self) -> None:
        self.minted: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def mint(self, held: Token | None) -> Token:
        assert self.open.wait(20)
        self.minted.append(held.refresh if held else "")
        number = len(self.minted)
        return Token(access=f"access-{number}", refresh=f"refresh-{number}")


def stored(store: Store, grant: str = "g") -> bytes:
    with store.read() as connection:
        return bytes(connection.execute(select(tokens.c.sealed).where(tokens.c.grant_id == grant)).scalar_one())


def test_minted_once_stored_encrypted_and_shared(open_store: Callable[..., Store]) -> None:
    first, second, vendor = open_store(key_source=KEY), open_store(key_source=KEY), Vendor()
    token = first.tokens.token("g", vendor.mint)
    assert second.tokens.token("g", vendor.mint) == token == first.tokens.token("g", vendor.mint)
    assert b"access-1" not in stored(first)
    fresh = first.tokens.token("g", vendor.mint, refused=token.access)
    assert fresh.access == "access-2"
    # The other one still holds the old token; its refusal costs no mint.
    assert second.tokens.token("g", vendor.mint) == token
    assert second.tokens.token("g", vendor.mint, refused=token.access) == fresh
    assert vendor.minted == ["", "refresh-1"]


def test_many_threads_of_two_stores_mint_once(open_store: Callable[..., Store]) -> None:
    stores, vendor = [open_store(key_source=KEY), open_store(key_source=KEY)], Vendor()
    found: list[Token] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(stores[n % 2].tokens.token("g", vendor.mint)))
        for n in range(10)
    ]
    vendor.open.clear()
    for thread in threads:
        thread.start()
    vendor.open.set()
    for thread in threads:
        thread.join(30)
    assert {token.access for token in found} == {"access-1"}
    assert len(found) == 10


def test_a_failure_is_everybodys_and_costs_one_call(open_store: Callable[..., Store]) -> None:
    store, asked, errors = open_store(key_source=KEY), [], []
    entered, go = threading.Event(), threading.Event()

    def refuse(held: Token | None) -> Token:
        asked.append(held)
        entered.set()
        assert go.wait(20)
        raise Misconfigured("invalid_client")

    def ask() -> None:
        try:
            store.tokens.token("g", refuse)
        except Misconfigured as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    threads[0].start()
    assert entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    while len(threads) - 1 > sum(thread.is_alive() for thread in threads):
        pass
    go.set()
    for thread in threads:
        thread.join(20)
    assert errors == ["invalid_client"] * 4
    assert 1 <= len(asked) < 4  # who comes after the failure asks afresh; who waited for it does not


def test_an_old_token_is_renewed_and_a_refresh_token_not_repeated_is_kept(open_store: Callable[..., Store]) -> None:
    now = [MOMENT]
    store = open_store(key_source=KEY, clock=lambda: now[0])
    made = iter([("a", "r1"), ("b", ""), ("c", "")])
    seen: list[str] = []

    def mint(held: Token | None) -> Token:
        seen.append(held.refresh if held else "")
        access, refresh = next(made)
        return Token(access=access, refresh=refresh, expires_at=now[0] + timedelta(hours=1))

    store.tokens.token("g", mint)
    now[0] += timedelta(minutes=59, seconds=30)
    assert store.tokens.token("g", mint).access == "b"
    now[0] += timedelta(minutes=59, seconds=30)
    assert store.tokens.token("g", mint).access == "c"
    assert seen == ["", "r1", "r1"]


def test_a_rotation_that_could_not_be_stored_is_stored_before_it_is_used(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, vendor = open_store(key_source=KEY), Vendor()
    token = store.tokens.token("g", vendor.mint)

    def full(*_: object) -> bool:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("syncd.store.tokens._put", full)
        with pytest.raises(StoreUnavailable):
            store.tokens.token("g", vendor.mint, refused=token.access)
    assert store.tokens.token("g", vendor.mint, refused=token.access).access == "access-2"
    assert vendor.minted == ["", "refresh-1"]
    assert open_store(key_source=KEY).tokens.token("g", vendor.mint).refresh == "refresh-2"


def test_waiting_for_another_process_is_bounded(open_store: Callable[..., Store]) -> None:
    store, vendor = open_store(key_source=KEY), Vendor()
    assert store.leases.acquire("token:g", timedelta(minutes=5), holder="elsewhere:1:x") is not None
    waiting = StoredTokens(store, store.leases, KEY, patience=timedelta(milliseconds=30), glance=0.005)
    with pytest.raises(Transient, match="elsewhere"):
        waiting.token("g", vendor.mint)
    assert vendor.minted == []


def test_another_key_is_told_in_one_line(open_store: Callable[..., Store]) -> None:
    vendor = Vendor()
    open_store(key_source=KEY).tokens.token("g", vendor.mint)
    store = open_store(key_source="z" * 40)
    with pytest.raises(UsageError, match="encrypted with another key") as caught:
        store.tokens.check()
    assert "\n" not in str(caught.value)
    with pytest.raises(Misconfigured, match="another key"):
        store.tokens.token("g", vendor.mint)
    assert vendor.minted == [""]
    store.tokens.put("g", Token(access="signed in afresh"))
    store.tokens.check()
    assert store.tokens.token("g", vendor.mint).access == "signed in afresh"


def test_a_short_key_is_refused(open_store: Callable[..., Store]) -> None:
    with pytest.raises(UsageError, match="too few to be secret") as caught:
        open_store(key_source="hunter2").tokens.check()
    assert "hunter2" not in str(caught.value)


def test_sqlite_makes_its_key_and_postgresql_asks_for_one(open_store: Callable[..., Store], tmp_path: Path) -> None:
    store = open_store()
    if store.postgresql:
        with pytest.raises(UsageError, match="secret_key"):
            store.tokens.check()
        return
    store.tokens.token("g", Vendor().mint)
    key = tmp_path / "syncd.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert open_store().tokens.token("g", Vendor().mint).access == "access-1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


REFRESH = """
import sys
from syncd.http.oauth import Token
from syncd.store import Store
def mint(held):
    with open(sys.argv[2], "a") as log:
        log.write("minted\\n")
    number = int(held.access) + 1 if held else 1
    return Token(access=str(number))
store = Store.open(sys.argv[1], key_source="k" * 40)
print(store.tokens.token("g", mint).access, flush=True)
sys.stdin.readline()
print(store.tokens.token("g", mint, refused="1").access, flush=True)
"""


def test_processes_refresh_once(store: Store, store_url: str, tmp_path: Path) -> None:
    log = tmp_path / "mints"
    command = [sys.executable, "-c", REFRESH, store_url, str(log)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
    for process in processes:
        output, _ = process.communicate("\n", timeout=60)
        assert (output, process.returncode) == ("2\n", 0)
    assert log.read_text() == "minted\n" * 2


def test_a_sign_in_elsewhere_is_used_from_the_next_look_on(open_store: Callable[..., Store]) -> None:
    first, second, vendor = open_store(key_source=KEY), open_store(key_source=KEY), Vendor()
    looked: list[tuple[str, str]] = []
    sign_ins = SignInWatcher(first, lambda role, name: looked.append((role, name)))
    assert first.tokens.token("g", vendor.mint).access == "access-1"
    second.tokens.put("g", Token(access="signed in", refresh="r"))
    announce(second, "destination", "crm", "g")
    assert first.tokens.token("g", vendor.mint).access == "access-1"
    for _ in range(2):
        sign_ins.poll(threading.Event())
        assert first.tokens.token("g", vendor.mint).access == "signed in"
    assert looked == [("destination", "crm")]
    assert second.tokens.forget("g")
    assert not second.tokens.forget("g")
    announce(second, "destination", "crm", "g")
    Announcements(first).keep_only([])  # a daemon that starts forgets the dead, not what was announced
    sign_ins.poll(threading.Event())
    assert first.tokens.token("g", vendor.mint).access == "access-2"


def test_a_sign_in_waits_for_the_refresh_under_way(open_store: Callable[..., Store]) -> None:
    first, second, vendor = open_store(key_source=KEY), open_store(key_source=KEY), Vendor()
    vendor.open.clear()
    refresh = threading.Thread(target=lambda: first.tokens.token("g", vendor.mint))
    refresh.start()
    while second.leases.holder("token:g") == "":
        pass
    sign_in = threading.Thread(target=lambda: second.tokens.put("g", Token(access="signed in")))
    sign_in.start()
    vendor.open.set()
    refresh.join(30)
    sign_in.join(30)
    assert second.tokens.token("g", vendor.mint).access == "signed in"


def test_a_sign_in_that_cannot_have_the_lease_is_refused_in_one_line(open_store: Callable[..., Store]) -> None:
    store = open_store(key_source=KEY)
    assert store.leases.acquire("token:g", timedelta(minutes=5), holder="elsewhere:1:x") is not None
    waiting = StoredTokens(store, store.leases, KEY, patience=timedelta(milliseconds=30), glance=0.005)
    with pytest.raises(Transient, match="elsewhere:1:x"):
        waiting.put("g", Token(access="signed in"))


ROTATE = """
import sys
from syncd.http.client import HttpClient
from syncd.http.oauth import Token
from syncd.store import Store
url = sys.argv[2]
client = HttpClient(url)
def mint(held):
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": held.refresh}
    answer = client.request("POST", "/services/oauth2/token", form=form)
    assert answer.ok, answer.body
    said = answer.json()
    return Token(access=said["access_token"], refresh=said["refresh_token"])
store = Store.open(sys.argv[1], key_source="k" * 40)
while True:
    refused = store.tokens.token("g", mint)
    print(store.tokens.token("g", mint, refused=refused.access).refresh, flush=True)
"""


def test_a_rotating_token_survives_processes_that_are_killed(store: Store, store_url: str) -> None:
    """Whoever prints a refresh token has stored it first. A kill between the vendor's answer and our commit is the one
    moment that no client can make good: then the vendor has rotated and nobody knows the token. It is told apart here by
    the twin, which knows how often it rotated."""
    with SalesforceTwin(client_id="app", refresh_token="first", rotate_refresh=True) as twin:
        store_of = Store.open(store_url, key_source=KEY)
        store_of.tokens.put("g", Token(access="a", refresh="first"))
        printed: list[str] = ["first"]
        for round_ in range(4):
            command = [sys.executable, "-c", ROTATE, store_url, twin.url]
            processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            for process in processes:
                assert process.stdout is not None
                printed += [process.stdout.readline().strip() for _ in range(3 + round_)]
            for process in processes:
                process.kill()
            for process in processes:
                rest, _ = process.communicate(timeout=60)
                assert process.returncode == -9, rest
            for _ in range(2):  # requests that the killed left in its sockets are answered before these
                requests.get(f"{twin.url}/_twin/stats", timeout=10)
            kept = StoredTokens(store_of, store_of.leases, KEY)._read("g")
            assert kept is not None
            if kept.refresh != twin.tokens.refresh_token:  # killed in between: a person signs in again
                store_of.tokens.put("g", Token(access="again", refresh=str(twin.tokens.refresh_token)))
        assert len(set(printed)) > 8
        store_of.close()
