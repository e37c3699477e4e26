"""Asterisk over real TCP, and its records in Master.csv, SQLite and PostgreSQL: the kit, calls heard through the intake, lost
connections, what is refused, and calls that only the records know."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.capabilities import Level, Waiting
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.connector import Backfillable, Context
from syncd.connectors.phone import asterisk
from syncd.connectors.phone.asterisk import CONNECTOR, AsteriskAmi, AsteriskBoth, AsteriskCdr, AsteriskSettings
from syncd.errors import Misconfigured, Transient
from syncd.http.lockout import LoginBackoff
from syncd.http.oauth import MemoryTokens
from syncd.intake.intake import Intake
from syncd.signals import Signal
from syncd.store import Store
from syncd.store.schema import signals
from syncd.testing import BackfillConformance, PollingConformance, Vendor
from syncd.time_cursor import TimeCursor, encode
from tests.ami_server import AmiServer, ami_server

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SECRET = "ami-secret-0815"
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)
ZONE = timedelta(hours=7)  # Asia/Ho_Chi_Minh


def source(folder: Path = Path(), clock: datetime = NOW + timedelta(days=1), **keys: Any) -> Any:
    context = Context(
        name="pbx", tokens=MemoryTokens(), region="VN", clock=lambda: clock, directory=folder, refusals=LoginBackoff()
    )
    return CONNECTOR.build(AsteriskSettings.model_validate(keys), context)


def ami(server: AmiServer, **keys: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "username": "syncd", "secret": SECRET, **keys}


@pytest.fixture
def server() -> Iterator[AmiServer]:
    with ami_server() as one:
        yield one


# ---- records


def local(at: datetime) -> str:
    return f"{at + ZONE:%Y-%m-%d %H:%M:%S}"


def line(at: datetime, number: int = 1, **more: str) -> dict[str, str]:
    """A record of a missed call, by the columns of Master.csv."""
    id_ = f"{int(at.timestamp())}.{number}"
    row = {
        "accountcode": "",
        "src": "0912345678",
        "dst": "02412345678",
        "dcontext": "ext-group",
        "clid": '"Lan" <0912345678>',
        "channel": f"PJSIP/trunk-{number:08x}",
        "dstchannel": "PJSIP/7004-00000002",
        "lastapp": "Dial",
        "lastdata": "PJSIP/7004,20",
        "start": local(at),
        "answer": "",
        "end": local(at + timedelta(seconds=20)),
        "duration": "20",
        "billsec": "0",
        "disposition": "NO ANSWER",
        "amaflags": "DOCUMENTATION",
        "uniqueid": id_,
        "userfield": "",
    }
    return row | more


def written(path: Path, *rows: dict[str, str]) -> None:
    """As cdr_csv does: no header, quotes doubled, numbers and an empty answer without quotes."""
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            values = [
                value if value.isdigit() or not value else '"' + value.replace('"', '""') + '"'
                for value in row.values()
            ]
            file.write(",".join(values) + "\n")


class CsvPbx(Vendor):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "Master.csv"
        self.path.touch()

    def put(self, row: dict[str, str]) -> None:
        written(self.path, row)

    def happen(self, number: int) -> None:
        self.put(line(self.moment(number), number))

    def happen_by(self, number: int, form: str) -> bool:
        if form == "phone":
            self.happen(number)
        return form == "phone"

    def spoil(self, number: int) -> bool:
        self.put(line(self.moment(number), number, start="some day", uniqueid=""))
        return True


class SqlPbx(CsvPbx):
    """FreePBX's table."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        columns = [sa.Column(name, sa.String(80)) for name in line(NOW) if name not in ("start", "answer", "end")]
        when = sa.DateTime() if url.startswith("postgresql") else sa.String(19)
        self.table = sa.Table("cdr", sa.MetaData(), sa.Column("calldate", when), *columns)
        self.table.create(self.engine)

    def put(self, row: dict[str, str]) -> None:
        values: dict[str, Any] = {name: row[name] for name in self.table.columns.keys() if name != "calldate"}  # noqa: SIM118
        try:
            at: datetime | None = datetime.fromisoformat(row["start"])
        except ValueError:
            at = datetime(2026, 11, 22, 15, 0)  # noqa: DTZ001  the database takes nothing else; the row cannot be understood
            values |= {"uniqueid": "", "calldate": None}
        kept = at if isinstance(self.table.columns["calldate"].type, sa.DateTime) else row["start"]
        with self.engine.begin() as connection:
            connection.execute(self.table.insert().values(**{"calldate": kept, **values}))

    def spoil(self, number: int) -> bool:
        return False  # a database gives only rows with a time


class _Records(PollingConformance, BackfillConformance):
    connector = CONNECTOR


class TestMasterCsv(_Records):
    @pytest.fixture
    def vendor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CsvPbx:
        monkeypatch.setattr("syncd.connectors.phone.asterisk_cdr.BLOCK", 300)
        return CsvPbx(tmp_path)

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[..., Any]:
        return lambda recall: records(tmp_path)


class TestTable(_Records):
    @pytest.fixture(params=["sqlite", "postgresql"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path / 'cdr.db'}"
        return str(request.getfixturevalue("empty_postgres_url"))

    @pytest.fixture
    def vendor(self, url: str) -> SqlPbx:
        return SqlPbx(url)

    @pytest.fixture
    def connect(self, url: str) -> Callable[..., Any]:
        return lambda recall: source(cdr={"url": url, "timezone": "Asia/Ho_Chi_Minh"})


def polled(made: Any, state: bytes | None = None, now: datetime = NOW + timedelta(hours=1)) -> list[Signal]:
    begun = state or encode(TimeCursor(NOW - timedelta(hours=1)))
    return [signal for batch in made.poll(begun, now) for signal in batch.signals]


def records(folder: Path, **keys: Any) -> Any:
    return source(folder, cdr={"csv": "Master.csv", "timezone": "Asia/Ho_Chi_Minh"}, **keys)


def test_a_record_becomes_a_signal(tmp_path: Path) -> None:
    written(tmp_path / "Master.csv", line(NOW))
    (signal,) = polled(records(tmp_path))
    assert (signal.type, signal.title) == ("call.missed", "Missed call from Lan to 02412345678")
    assert (signal.occurred_at, signal.reply) == (NOW, "tel:+84912345678")
    assert signal.data["linkedid"] == "1795334400.1"


def test_a_call_is_judged_once_its_records_are_all_there(tmp_path: Path) -> None:
    written(tmp_path / "Master.csv", line(NOW))
    made = records(tmp_path, calls=["missed", "answered"])
    assert polled(made, now=NOW + timedelta(seconds=30)) == []
    written(tmp_path / "Master.csv", line(NOW, disposition="ANSWERED", billsec="5", dstchannel="PJSIP/7005-00000003"))
    assert [one.type for one in polled(made)] == ["call.answered"]


def test_records_of_a_file_that_was_rotated(tmp_path: Path) -> None:
    written(tmp_path / "Master.csv.1", line(NOW - timedelta(days=3), 1), line(NOW, 2))
    written(tmp_path / "Master.csv", line(NOW + timedelta(minutes=5), 3))
    assert [one.data["linkedid"][-2:] for one in polled(records(tmp_path))] == [".2", ".3"]
    (tmp_path / "Master.csv").unlink()  # rotated, and nobody has called since
    assert [one.data["linkedid"][-2:] for one in polled(records(tmp_path))] == [".2"]


def test_a_line_that_is_still_being_written_is_left(tmp_path: Path) -> None:
    written(tmp_path / "Master.csv", line(NOW, 1))
    with (tmp_path / "Master.csv").open("a") as file:
        file.write('"","0912345678","0241')
    made = records(tmp_path)
    assert len(polled(made)) == 1
    assert len(list(made._log.rows(NOW - timedelta(days=1), NOW + timedelta(days=1)))) == 1


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.connectors.phone.asterisk_cdr.BLOCK", 4_096)
    days = [line(NOW - timedelta(hours=hour), hour) for hour in reversed(range(2_000))]
    written(tmp_path / "Master.csv", *days)
    read = records(tmp_path)._log.rows(NOW - timedelta(hours=5), NOW + timedelta(days=1))
    assert len(list(read)) == 6
    assert len(polled(records(tmp_path))) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"CDR: cannot read .*Master.csv: No such file"):
        polled(records(tmp_path))


@pytest.mark.parametrize(
    ("keys", "failure", "said"),
    [
        ({"table": "calls"}, Misconfigured, "no table calls; set cdr.table"),
        ({"table": "other"}, Misconfigured, "no column calldate or start"),
        ({"url": "sqlite:////nowhere/at/all.db"}, Transient, "the database cannot be read"),
        ({"url": "nosuch://host/db"}, Misconfigured, "the driver of this database is not installed"),
    ],
)
def test_a_database_that_cannot_be_read_is_named(
    tmp_path: Path, keys: dict[str, str], failure: type[Exception], said: str
) -> None:
    url = f"sqlite:///{tmp_path / 'cdr.db'}"
    with closing(sa.create_engine(url).raw_connection()) as connection:
        connection.cursor().execute("create table other (a text)")
        connection.commit()
    with pytest.raises(failure, match=said):
        polled(source(cdr={"url": url, **keys}))


def test_what_check_online_says_of_records(tmp_path: Path) -> None:
    written(tmp_path / "Master.csv", line(NOW + timedelta(hours=20)))
    found = {one.what: one for one in records(tmp_path).check_online()}
    assert {what: one.level for what, one in found.items()} == {"cdr": Level.OK, "linkedid": Level.WARNING}
    wrong = {one.what: one for one in source(tmp_path, cdr={"csv": "Master.csv"}).check_online()}
    assert "+7.0 h off in the zone UTC" in wrong["timezone"].message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "set host: (AMI), cdr: (call detail records), or both"),
        ({"host": "pbx"}, "host: needs username: and secret:"),
        ({"cdr": {}}, "set csv: or url:, one of them"),
        ({"cdr": {"csv": "a", "url": "sqlite://"}}, "set csv: or url:, one of them"),
        ({"cdr": {"csv": "a", "timezone": "Mars"}}, "there is not a time zone 'Mars'"),
        ({"cdr": {"url": "cdr.db"}}, "is not a database URL"),
        ({"cdr": {"csv": "a"}, "internal": "("}, "is not a regular expression"),
        ({"host": "pbx", "username": "a", "secret": "b\nAction: Command"}, "has a line break"),
    ],
)
def test_settings_that_cannot_work(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        AsteriskSettings.model_validate(keys)


# ---- AMI

CALLER = (
    "CallerIDNum: 0912345678\r\nCallerIDName: Lan\r\nContext: from-trunk\r\nExten: 02412345678\r\n"
    "Uniqueid: {id}\r\nLinkedid: {id}\r\n"
)


def begun(id_: str) -> str:
    return "Event: Newchannel\r\nChannel: PJSIP/trunk-1\r\n" + CALLER.format(id=id_) + "\r\n"


def over(id_: str, status: str = "NOANSWER") -> str:
    caller = "Channel: PJSIP/trunk-1\r\n" + CALLER.format(id=id_)
    rang = f"Event: DialEnd\r\n{caller}DestChannel: PJSIP/7004-2\r\nDestUniqueid: 1.1\r\nDialStatus: {status}\r\n\r\n"
    return f"{rang}Event: Hangup\r\n{caller}Cause: 21\r\n\r\n"


class Heard:
    """A thread that iterates `wait`, as the intake does."""

    def __init__(self, made: Waiting) -> None:
        self.stop, self.news, self.failed = threading.Event(), threading.Semaphore(0), list[Exception]()
        self.thread = threading.Thread(target=self._run, args=(made,), daemon=True)
        self.thread.start()

    def _run(self, made: Waiting) -> None:
        try:
            for _ in made.wait(self.stop):
                self.news.release()
        except Exception as error:  # noqa: BLE001  for the test to look at
            self.failed.append(error)

    def next(self) -> None:
        assert self.news.acquire(timeout=20), self.failed or "nothing was heard"

    def end(self) -> list[Exception]:
        self.stop.set()
        self.thread.join(5)
        assert not self.thread.is_alive()
        return self.failed


def test_a_missed_call_is_heard(server: AmiServer) -> None:
    made = source(**ami(server))
    heard = Heard(made)
    heard.next()  # for what came before
    server.say(begun("1795334400.1") + over("1795334400.1"))
    heard.next()
    (signal,) = polled(made)
    assert (signal.type, signal.occurred_at, signal.person.phone) == ("call.missed", NOW, "+84912345678")
    assert polled(made) == []  # each once
    assert heard.end() == []
    assert server.actions[0] == {"Action": "Login", "Username": "syncd", "Secret": SECRET, "Events": "call,agent"}


def test_what_was_heard_is_kept_until_it_is_committed(server: AmiServer) -> None:
    made = source(**ami(server))
    heard = Heard(made)
    heard.next()
    server.say(begun("1795334400.1") + over("1795334400.1"))
    heard.next()
    state = encode(TimeCursor(NOW))
    stopped = made.poll(state, NOW)
    first = next(stopped)
    stopped.close()  # the commit failed
    (again,) = made.poll(state, NOW)
    assert [one.id for one in again.signals] == [one.id for one in first.signals]
    heard.end()


def test_the_record_of_a_call_that_was_heard_is_the_same_signal(server: AmiServer, tmp_path: Path) -> None:
    made = records(tmp_path, **ami(server))
    (tmp_path / "Master.csv").touch()
    heard = Heard(made)
    heard.next()
    server.say(begun("1795334400.1") + over("1795334400.1"))
    heard.next()
    written(tmp_path / "Master.csv", line(NOW))
    by_ami, by_cdr = polled(made)
    assert by_ami.id == by_cdr.id
    heard.end()


def test_calls_while_nobody_listened_are_in_the_records(server: AmiServer, tmp_path: Path) -> None:
    made = records(tmp_path, **ami(server))
    written(tmp_path / "Master.csv", line(NOW), line(NOW + timedelta(minutes=1), 2))
    heard = Heard(made)
    heard.next()
    server.hang_up()  # a call ends meanwhile
    heard.thread.join(10)
    assert [str(one) for one in heard.failed] == [f"lost: AMI: 127.0.0.1:{server.port} closed the connection"]
    assert len(polled(made)) == 2


def test_a_call_that_began_before_is_counted(server: AmiServer) -> None:
    made = source(**ami(server))
    heard = Heard(made)
    heard.next()
    server.hang_up()
    heard.thread.join(10)
    heard = Heard(made)
    heard.next()
    server.say(over("1795334400.1") + begun("1795334400.2") + over("1795334400.2"))
    heard.next()
    (batch,) = made.poll(encode(TimeCursor(NOW)), NOW)
    assert [one.data["linkedid"] for one in batch.signals] == ["1795334400.2"]
    assert batch.dropped == {"listening was interrupted": 1, "call that began before syncd listened": 1}
    heard.end()


def test_a_wrong_secret_is_refused_once(server: AmiServer) -> None:
    made = source(**ami(server, secret="another-secret"))
    with pytest.raises(Misconfigured, match="refuses username or secret") as caught:
        polled(made)
    assert "another-secret" not in str(caught.value)
    with pytest.raises(Misconfigured):
        polled(made)
    assert len(server.actions) == 1  # fail2ban counts


def test_what_is_not_asterisk_is_named(server: AmiServer) -> None:
    server.banner = b"SSH-2.0-OpenSSH_9.2\r\n"
    with pytest.raises(Misconfigured, match="is not Asterisk's manager; check host and port"):
        polled(source(**ami(server)))


def test_nobody_at_the_port() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Transient, match=f"cannot connect to 127.0.0.1:{port}"):
        polled(source(host="127.0.0.1", port=port, username="syncd", secret=SECRET))


def test_a_quiet_pbx_is_asked_whether_it_is_there(server: AmiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asterisk, "QUIET", 0.0)
    monkeypatch.setattr(asterisk, "TURN", 0.05)
    made = source(**ami(server))
    heard = Heard(made)
    with server.changed:
        assert server.changed.wait_for(lambda: [one["Action"] for one in server.actions].count("Ping") >= 2, 20)
    assert heard.end() == []


def test_a_pbx_that_does_not_answer_is_gone(server: AmiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asterisk, "QUIET", 0.0)
    monkeypatch.setattr(asterisk, "ANSWER", 0.0)
    monkeypatch.setattr(asterisk, "TURN", 0.05)
    server.silent = True
    heard = Heard(source(**ami(server)))
    heard.thread.join(20)
    assert ["the connection is dead" in str(one) for one in heard.failed] == [True]


@pytest.mark.parametrize("trusted", [True, False])
def test_tls(server: AmiServer, tmp_path: Path, trusted: bool) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ami.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    keys = ami(server, tls=True) | ({"tls_ca": str(certificate)} if trusted else {})
    if trusted:
        assert [one.level for one in source(**keys).check_online()] == [Level.OK, Level.WARNING]
        return
    with pytest.raises(Misconfigured, match=r"is not trusted .*; set tls_ca"):
        polled(source(**keys))


@with_recordings
def test_the_recorded_stream_over_the_wire(server: AmiServer) -> None:
    recorded = json.loads((Path(RECORDINGS) / "asterisk.json").read_text("utf-8"))["missed-internal-call"]
    made = source(**ami(server), inbound_contexts=["from-internal"])
    heard = Heard(made)
    heard.next()
    stream = recorded["stream"].encode()
    for at in range(0, len(stream), 777):
        server.say(stream[at : at + 777])
    heard.next()
    (signal,) = polled(made)
    assert (signal.type, signal.title) == ("call.missed", "Missed call from Ext 7003 to 7004")
    heard.end()


def test_the_forms_of_the_source(server: AmiServer) -> None:
    alone, both, cdr = source(**ami(server)), source(**ami(server), cdr={"csv": "x"}), source(cdr={"csv": "x"})
    assert [type(one) for one in (alone, both, cdr)] == [AsteriskAmi, AsteriskBoth, AsteriskCdr]
    assert [isinstance(one, Waiting) for one in (alone, both, cdr)] == [True, True, False]
    assert [isinstance(one, Backfillable) for one in (alone, both, cdr)] == [False, True, True]


# ---- through the intake


def test_calls_reach_the_store_as_they_end(server: AmiServer, sqlite_url: str) -> None:
    store = Store.open(sqlite_url, key_source="k" * 40)
    settings = Settings(
        channels={"calls": {"missed": True}},
        sources={"pbx": SourceSettings(name="pbx", type="asterisk", poll=timedelta(hours=1))},
        destinations={"crm": DestinationSettings(name="crm", type="x")},
    )
    intake = Intake(store, settings, {"pbx": source(**ami(server))})
    intake.start()

    def stored() -> int:
        with store.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(signals)).scalar_one()

    try:
        _until(lambda: sum(intake.counts.polls.values()) >= 2)  # the first, and the one when listening began
        _until(lambda: len(server.signed_in) == 1)  # the first one's has gone
        for number in (1, 2):
            server.say(begun(f"1795334400.{number}") + over(f"1795334400.{number}"))
            _until(lambda number=number: stored() == number)  # type: ignore[misc]
    finally:
        intake.stop(5)
        store.close()


def _until(true: Callable[[], object], seconds: float = 20) -> None:
    began, pause = time.monotonic(), threading.Event()
    while time.monotonic() - began < seconds:
        if true():
            return
        pause.wait(0.02)
    raise AssertionError("it did not come about")
