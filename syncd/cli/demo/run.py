"""The demo itself: a twin CRM, a configuration as a user would write it, a daemon, sample events, and a table of the outcome of
them. It takes no short cut: it reads its configuration from a file and speaks to the daemon's own port.
"""

from __future__ import annotations

import json
import signal
import socket
import tempfile
import threading
import time
from _thread import start_new_thread
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd.cli.demo.samples import FORMS_SECRET, KNOWN, SHOP_SECRET, TWILIO_ACCOUNT, TWILIO_TOKEN, DemoTargets, samples
from syncd.cli.output import Output
from syncd.errors import SyncdError
from syncd.signal_types import CATALOGUE, known_types

if TYPE_CHECKING:
    from syncd.service.daemon import Daemon
    from syncd.twins.server import Twin

PATIENCE = 60.0
PAUSE_BETWEEN_ROUNDS = 20.0
LOOK_EVERY = 0.1
QUIET_FOR = 1.5
"""Seconds without news before a round counts as over: longer than the maildir's poll."""

CONFIG = """\
# What the demo runs: the same keys as in your own file.
database: sqlite:///./syncd.db
server: {{listen: 127.0.0.1:{port}, public_url: "{public_url}"}}
region: VN
timezone: Asia/Ho_Chi_Minh
exclude: {{domains: [ourcompany.example]}}

channels:
{channels}
  custom: {{"*": true}}

sources:
  forms:
    type: webhook
    verify: {{scheme: standard_webhooks, secret: "${{DEMO_FORMS_SECRET}}"}}
    account: website
    format: cloudevents
  shop:
    type: webhook
    verify: {{scheme: hmac, secret: "${{DEMO_SHOP_SECRET}}", header: x-shop-signature}}
    format: json
    signal:
      type: custom.order
      id: "{{{{ body.id }}}}"
      occurred_at: "{{{{ body.at }}}}"
      title: "{{{{ body.what }}}}"
      person: {{email: "{{{{ body.mail }}}}", name: "{{{{ body.name }}}}"}}
  phones:
    type: twilio
    poll: 1h
    account_sid: {twilio_account}
    auth_token: ${{DEMO_TWILIO_TOKEN}}
    base_url: {twilio_url}
  inbox:
    type: maildir
    poll: 1s
    path: ./Maildir

destinations:
  crm:
{crm}
"""

CRMS = {
    "salesforce": """\
    type: salesforce
    mapping: mappings/salesforce.yaml
    login_url: {url}
    auth: {{flow: client_credentials, client_id: demo, client_secret: "${{DEMO_CRM_SECRET}}"}}
""",
    "zoho": """\
    type: zoho
    mapping: mappings/zoho.yaml
    accounts_url: {url}
    base_url: {url}
    auth: {{client_id: demo, client_secret: "${{DEMO_CRM_SECRET}}", refresh_token: "${{DEMO_CRM_SECRET}}"}}
""",
    "bitrix24": """\
    type: bitrix24
    mapping: mappings/bitrix24.yaml
    base_url: "{url}/rest/1/${{DEMO_CRM_SECRET}}/"
""",
}
PEOPLE = {
    "salesforce": ("Contact", {"FirstName": "FirstName", "LastName": "LastName", "Email": "Email", "Phone": "Phone"}),
    "zoho": ("Contacts", {"FirstName": "First_Name", "LastName": "Last_Name", "Email": "Email", "Phone": "Phone"}),
    "bitrix24": ("contact", {"FirstName": "name", "LastName": "lastName", "Email": "email", "Phone": "phone"}),
}
OPTIONS: dict[str, dict[str, str]] = {
    "twilio": {"account_sid": TWILIO_ACCOUNT, "auth_token": TWILIO_TOKEN},
    "bitrix24": {"secret": "demo"},
}
"""Twin -> what it is made with."""
SECRETS = {
    "DEMO_FORMS_SECRET": FORMS_SECRET,
    "DEMO_SHOP_SECRET": SHOP_SECRET,
    "DEMO_TWILIO_TOKEN": TWILIO_TOKEN,
    "DEMO_CRM_SECRET": "demo",
}


def run_demo(crm: str, *, once: bool, out: Output) -> int:
    """Runs the demo; with `once` a single round. Ctrl-C stops it cleanly. Returns the exit code: 0 when everything ended
    where it should and the balance sheet balances."""
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_interruptible(stopping))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-demo-")))
        twin = stack.enter_context(_twin(crm))
        phones = stack.enter_context(_twin("twilio"))
        daemon = stack.enter_context(_daemon(folder, crm, twin, phones))
        out.say(f"the daemon listens on {daemon.url} with SQLite in {folder}")
        out.say(f"a stand-in for {crm} answers on {twin.url}\n")
        _watching(daemon, stopping)
        doors = DemoTargets(daemon.url, daemon.settings.server.public_url, folder / "Maildir")
        round_, balanced = 0, True
        while not stopping.is_set():
            _play(doors, round_, out)
            _settled(daemon, stopping)
            _table(daemon, out)
            balanced = _balance(daemon, out)
            round_ += 1
            if once:
                break
            out.say(f"\nagain in {PAUSE_BETWEEN_ROUNDS:.0f} s; Ctrl-C stops it")
            stopping.wait(PAUSE_BETWEEN_ROUNDS)
    out.say("stopped cleanly" if balanced else "the balance sheet does not balance")
    return 0 if balanced else 1


@contextmanager
def _interruptible(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for an end instead of breaking off; off the main thread, signals are not ours to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        n: signal.signal(n, lambda *_: start_new_thread(stopping.set, ())) for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _twin(name: str) -> Iterator[Twin]:
    from syncd.twins import create

    twin = create(name, **OPTIONS.get(name, {}))
    twin.start()
    if name in PEOPLE:
        kind, fields = PEOPLE[name]
        for person in KNOWN:
            twin.add(kind, **{fields[key]: value for key, value in person.items()})
    try:
        yield twin
    finally:
        twin.stop()


@contextmanager
def _daemon(folder: Path, crm: str, twin: Twin, phones: Twin) -> Iterator[Daemon]:
    from syncd.config.loading import load_settings
    from syncd.observability.logs import set_up_logs
    from syncd.service.daemon import Daemon

    switches = {channel: dict.fromkeys(types, True) for channel, types in CATALOGUE.items()}
    for part in ("tmp", "new", "cur"):
        (folder / "Maildir" / part).mkdir(parents=True)
    port = _free_port()
    config = folder / "config.yaml"
    text = CONFIG.format(
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        twilio_account=TWILIO_ACCOUNT,
        twilio_url=phones.url,
        channels="\n".join(f"  {channel}: {json.dumps(on)}" for channel, on in switches.items()),
        crm=CRMS[crm].format(url=twin.url),
    )
    config.write_text(text, encoding="utf-8")
    with (folder / "syncd.log").open("a", encoding="utf-8") as log:
        set_up_logs(stream=log, as_json=True)
        daemon = Daemon(load_settings(config, SECRETS))
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _play(doors: DemoTargets, round_: int, out: Output) -> None:
    for sample in samples(doors, datetime.now(UTC), round_):
        out.say(f"  {sample.what:<58} {sample.send()}")
    out.say("")


def _watching(daemon: Daemon, stopping: threading.Event) -> None:
    """Waits until the maildir is watched: a new source starts at now, mail from before is a backfill's."""
    deadline = time.monotonic() + PATIENCE
    while daemon.store.cursors.read("inbox") is None and not stopping.is_set():
        if time.monotonic() > deadline:
            raise SyncdError("the demo's maildir is not polled")
        stopping.wait(LOOK_EVERY)


def _settled(daemon: Daemon, stopping: threading.Event) -> None:
    """Waits until nothing is pending and nothing new has come for a while."""
    from syncd.store.balance import balance

    deadline = time.monotonic() + PATIENCE
    seen, quiet_since = -1, time.monotonic()
    while not stopping.is_set():
        lines = balance(daemon.store)
        total, pending = sum(line.signals for line in lines), sum(line.pending for line in lines)
        if total != seen or pending:
            seen, quiet_since = total, time.monotonic()
        if time.monotonic() - quiet_since >= QUIET_FOR:
            return
        if time.monotonic() > deadline:
            raise SyncdError(f"the demo did not settle within {PATIENCE:.0f} s: {pending} pending")
        stopping.wait(LOOK_EVERY)


def _table(daemon: Daemon, out: Output) -> None:
    """Each signal with the records it became, or why it became none, in the order of the catalogue."""
    from syncd.store.queries import Filter, every, explain

    rows: list[dict[str, Any]] = []
    for found in every(daemon.store, Filter()):
        known = explain(daemon.store, str(found.signal.id))
        if known is None:
            continue
        person = found.signal.person
        state, reason = found.states.get("crm", ("", ""))
        became = ", ".join(dict.fromkeys(f"{w['object']} {w['crm_id']}" for w in known.writes if w["crm_id"]))
        reasons = dict.fromkeys(f"{w['rule']}: {w['reason'] or w['state']}" for w in known.writes if not w["crm_id"])
        rows.append(
            {
                "signal": found.signal.type,
                "title": found.signal.title,
                "person": person.name or person.email or person.phone or person.company,
                "is": ", ".join(f"{who['object']} {who['crm_id']}" for who in known.people if who["crm_id"]),
                "became": became,
                "reason": "" if became else reason or ", ".join(reasons),
                "state": state,
                "id": str(found.signal.id),
            }
        )
    place = {name: at for at, name in enumerate(known_types())}
    rows.sort(key=lambda row: place.get(row["signal"], len(place)))
    if not out.as_json:
        rows = [{**row, "became": row["became"] or f"none: {row['reason']}"} for row in rows]
    columns = ["signal", "title", "person", "is", "became", "state"]
    out.rows(rows, columns, title="each signal and the record it became")


def _balance(daemon: Daemon, out: Output) -> bool:
    from syncd.store.balance import balance

    lines = balance(daemon.store)
    columns: Sequence[str] = ("channel", "signals", "delivered", "skipped", "pending", "held", "dead", "unconfirmed")
    rows = [asdict(line) | {"balanced": line.balanced} for line in lines]
    out.rows(rows, [*columns, "balanced"], title="\nthe balance sheet")
    return all(line.balanced and not line.pending and not line.dead for line in lines)
