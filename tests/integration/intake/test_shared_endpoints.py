"""Several sources at one address: each takes its own accounts' events of a body, verified once; others are counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from syncd.config.loading import load_settings
from syncd.intake.intake import Intake
from syncd.service.assembly import assemble, check_configuration
from syncd.store import Store
from syncd.store.balance import kept_out
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.schema import receipts, signals
from syncd.web.app import Readiness, make_app
from syncd.web.metrics import Gauges, registry_of
from syncd.web.server import Server

SOURCE = """
  {name}:
    type: webhook
    endpoint: {endpoint}
    account: {name}
    verify: {{scheme: bearer, secret: {secret}}}
    format: json
    share: {{by: "{{{{ item.page }}}}", accounts: [{accounts}]}}
    signal: {{type: custom.post, each: "{{{{ body.entries }}}}", id: "{{{{ item.id }}}}"}}
"""
SECRET = "a-bearer-of-pages-0815"


def config(*sources: tuple[str, str], endpoint: str = "pages", **changed: str) -> str:
    made = [
        SOURCE.format(name=name, accounts=accounts, endpoint=endpoint, secret=changed.get(name, SECRET))
        for name, accounts in sources
    ]
    return 'server: {public_url: "https://s.example"}\nchannels: {custom: {"*": true}}\nsources:' + "".join(made)


@pytest.fixture
def url(store: Store, tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "config.yaml"
    path.write_text(config(("hanoi", "'1'"), ("saigon", "'2', '3'")))
    with served(store, path) as url:
        yield url


@contextmanager
def served(store: Store, path: Path) -> Iterator[str]:
    assembly = assemble(load_settings(path), store=store)
    last = "pages" if "endpoint: pages" in path.read_text() else "hanoi"
    assert assembly.settings.webhook_url("hanoi") == f"https://s.example/webhooks/{last}"
    intake = Intake(store, assembly.settings, assembly.sources)
    gauges = Gauges(intake.counts, lambda: 0, lambda: intake.receiver.waiting)
    server = Server(make_app(intake.receiver, registry_of(gauges), Readiness), "127.0.0.1", 0)
    server.start()
    yield f"{server.url}/webhooks"
    server.stop()
    intake.stop(0.2)


def post(url: str, entries: Any, secret: str = SECRET) -> int:
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    return requests.post(url, data=json.dumps({"entries": entries}), headers=headers, timeout=30).status_code


def entry(number: int, page: str) -> dict[str, str]:
    return {"id": f"p{number}", "page": page}


def stored(store: Store) -> dict[str, int]:
    found: dict[str, int] = {}
    with store.read() as connection:
        for source in connection.execute(select(signals.c.source)).scalars():
            found[source] = found.get(source, 0) + 1
    return found


def test_each_source_takes_its_own_accounts(store: Store, url: str) -> None:
    body = [entry(1, "1"), entry(2, "2"), entry(3, "3"), entry(4, "1")]
    assert (post(f"{url}/pages", body), post(f"{url}/pages", body)) == (200, 200)
    assert stored(store) == {"hanoi": 2, "saigon": 2}


def test_a_large_body_goes_the_same_way(store: Store, url: str) -> None:
    assert post(f"{url}/pages", [{**entry(1, "1"), "pad": "x" * 200_000}, entry(2, "2")]) == 200
    assert stored(store) == {"hanoi": 1, "saigon": 1}


def test_it_is_verified_before_it_is_looked_at(store: Store, url: str) -> None:
    assert post(f"{url}/pages", [entry(1, "1")], secret="another") == 401
    assert post(f"{url}/hanoi", [entry(1, "1")]) == 404, "the address is the shared one"
    assert stored(store) == {}


def test_an_unknown_account_is_counted_and_its_neighbours_pass(store: Store, url: str) -> None:
    assert post(f"{url}/pages", [entry(1, "1"), entry(2, "9"), {"id": "p3"}, 5]) == 200
    assert stored(store) == {"hanoi": 1}
    assert kept_out(store) == {("pages", "", "unknown account"): 3}


def test_a_body_that_cannot_be_understood_is_kept(store: Store, url: str) -> None:
    assert post(f"{url}/pages", {"not": "a list"}) == 200
    with store.read() as connection:
        assert [*connection.execute(select(receipts.c.source)).scalars()] == ["hanoi"]


def test_unless_all_parts_are_durable_the_vendor_sends_it_again(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(waiting: Any, tell: Any) -> None:
        raise StoreUnavailable("disk full")

    body = [entry(1, "1"), entry(2, "2")]
    monkeypatch.setattr(store.journal, "submit_all", refusing)
    assert post(f"{url}/pages", body) == 503
    monkeypatch.undo()
    assert post(f"{url}/pages", body) == 200
    assert stored(store) == {"hanoi": 1, "saigon": 1}


def test_with_an_address_of_its_own_a_source_takes_its_accounts_and_counts_the_others(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(("hanoi", "'1'")).replace("    endpoint: pages\n", ""))
    assert not check_configuration(path).faults
    with served(store, path) as url:
        assert post(f"{url}/hanoi", [entry(1, "1"), entry(2, "9")]) == 200
    assert stored(store) == {"hanoi": 1}
    assert kept_out(store) == {("hanoi", "", "unknown account"): 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (config(("a", "'1'"), ("b", "'1'")), "account '1' belongs to a already (name it in one source)"),
        (
            config(("a", "'1'"), ("b", "'2'"), b="another-secret-0815"),
            "must verify and name accounts in the same way, as a",
        ),
        (config(("a", "'1'"), endpoint="a"), "a is the name of a source (choose a name that no source has)"),
        (config(("a", "'1'"), endpoint="A B"), "'A B': names are lower-case letters"),
        (
            "sources: {m: {type: maildir, path: x, endpoint: pages}}",
            "a maildir source cannot share its address (leave the key out)",
        ),
        (
            "sources: {w: {type: webhook, verify: {scheme: bearer, secret: a-bearer-0815}, endpoint: pages}}",
            "which accounts' events are this source's?",
        ),
    ],
)
def test_check_says_what_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert said in "\n".join(str(fault) for fault in check_configuration(path).faults)
