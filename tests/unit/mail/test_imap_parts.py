"""The parts of the imap source that need no server: the error table, pages of bad mails, searches, the cursor, the keys."""

from __future__ import annotations

import imaplib
import socket
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connector import Context
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_cursor import HEAD_AFTER, SKIP_AFTER, Folder, Stuck
from syncd.connectors.mail.imap_errors import BANDWIDTH_PAUSE, CONNECTIONS_PAUSE, LOGIN_PAUSE, broken, refusal
from syncd.connectors.mail.imap_pages import GROUP_BYTES, MailPage, Pages
from syncd.connectors.mail.imap_session import SEARCH_WINDOW, FetchRefused, ImapSession, Meta
from syncd.connectors.mail.imap_settings import ImapAuth, ImapSettings
from syncd.connectors.mail.reading import Rules
from syncd.errors import Failure, Misconfigured, RateLimited, Transient, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route
from tests.mails import MOMENT, mail


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        (b"[AUTHENTICATIONFAILED] Invalid credentials (Failure)", Misconfigured, "AUTHENTICATIONFAILED"),
        (b"[AUTHENTICATIONFAILED] LOGIN failed.", Misconfigured, "AUTHENTICATIONFAILED"),
        (b"LOGIN failed.", Misconfigured, ""),
        (b"[ALERT] Application-specific password required", Misconfigured, "ALERT"),
        (b"[ALERT] Too many simultaneous connections. (Failure)", RateLimited, "ALERT"),
        (b"[OVERQUOTA] Account exceeded command or bandwidth limits.", RateLimited, "OVERQUOTA"),
        (b"[LIMIT] Rate limit hit", RateLimited, "LIMIT"),
        (b"[UNAVAILABLE] Temporary authentication failure.", Transient, "UNAVAILABLE"),
        (b"[INUSE] Mailbox in use", Transient, "INUSE"),
        (b"User is authenticated but not connected.", Transient, ""),
        (b"[PRIVACYREQUIRED] Plaintext authentication disallowed", Misconfigured, "PRIVACYREQUIRED"),
        (b"computer says no", Misconfigured, ""),
    ],
)
def test_what_a_server_says_at_login(text: bytes, kind: type[Failure], code: str) -> None:
    failure = refusal("IMAP x", imaplib.IMAP4.error(text), Misconfigured)
    assert type(failure) is kind
    assert failure.code == code
    assert "b'" not in str(failure)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (imaplib.IMAP4.abort("socket error: EOF"), Transient),
        (imaplib.IMAP4.abort(b"BYE [THROTTLED] slow down"), RateLimited),
        (TimeoutError("timed out"), Transient),
        (ConnectionRefusedError(111, "Connection refused"), Transient),
        (socket.gaierror(-2, "Name or service not known"), Transient),
    ],
)
def test_a_lost_connection(error: BaseException, kind: type[Failure]) -> None:
    failure = broken("IMAP x", error)
    assert type(failure) is kind
    assert str(failure)


class Server(ImapSession):
    """A folder in memory: `refuses` are never given whole, `gone` were expunged, at `breaks` the line breaks."""

    def __init__(self, mails: dict[int, bytes], *, refuses: Collection[int] = (), breaks: Collection[int] = ()) -> None:
        self.mails, self.refuses, self.breaks = mails, set(refuses), set(breaks)
        self.fetched: list[list[int]] = []

    def metas(self, uids: Collection[int]) -> dict[int, Meta]:
        return {uid: Meta(len(self.mails[uid]), MOMENT, seen=False) for uid in uids if uid in self.mails}

    def bodies(self, uids: Collection[int], *, head_only: bool = False) -> dict[int, bytes]:
        self.fetched.append(list(uids))
        if not head_only and self.breaks.intersection(uids):
            raise Transient("cut", code="lost")
        if self.refuses.intersection(uids):
            raise FetchRefused("no")
        return {uid: self.mails[uid][: 1000 if head_only else None] for uid in uids if uid in self.mails}


def read(server: Server, uids: list[int], stuck: Stuck | None = None) -> MailPage:
    pages = Pages(server, Rules("inbox"), 10_000_000, MOMENT, Route.POLL)
    return pages.read(uids, stuck or Stuck())


def test_a_refused_mail_harms_only_itself() -> None:
    page = read(Server({uid: mail(uid) for uid in range(1, 6)}, refuses=[3]), [1, 2, 3, 4, 5])
    assert [signal.title for signal in page.signals] == [f"Question {uid}" for uid in (1, 2, 4, 5)]
    assert (page.missing, page.dropped, page.lost) == ([3], {"unfetchable": 1}, None)


def test_a_lost_connection_keeps_what_was_read_before_it() -> None:
    mails = {uid: mail(uid, body="x" * (GROUP_BYTES // 2)) for uid in range(1, 6)}
    page = read(Server(mails, breaks=[4]), [1, 2, 3, 4, 5])
    assert isinstance(page.lost, Transient)
    assert [signal.title for signal in page.signals] == [f"Question {uid}" for uid in page.uids]
    assert page.uids == [1, 2, 3][: len(page.uids)]
    assert page.lost_at == 4


def test_a_mail_that_breaks_every_connection_is_left_at_last() -> None:
    server = Server({1: mail(1), 2: mail(2)}, breaks=[1], refuses=[])
    stuck, losses = Stuck(), 0
    while (page := read(server, [1, 2], stuck)).lost:
        stuck.lost_at(page.lost_at)
        losses += 1
    assert losses == HEAD_AFTER
    assert [signal.title for signal in page.signals] == ["Question 1", "Question 2"]
    page = read(server, [1, 2], Stuck(uid=1, losses=SKIP_AFTER))
    assert [signal.title for signal in page.signals] == ["Question 2"]
    assert page.dropped == {"unfetchable": 1}


def test_groups_are_bounded_in_bytes() -> None:
    server = Server({uid: mail(uid, body="x" * 1_500_000) for uid in range(1, 8)})
    read(server, list(range(1, 8)))
    assert max(len(group) for group in server.fetched) == 2


class Client:
    """Answers SEARCH as a server with `count` messages of UIDs 10, 20, ... would."""

    def __init__(self, count: int) -> None:
        self.count, self.largest = count, 0

    def search(self, criteria: list[Any]) -> list[int]:
        first, last = 1, self.count
        if criteria[0] != "UID":
            low, _, high = criteria[0].partition(":")
            first, last = int(low), self.count if high == "*" else int(high)
        lowest = int(criteria[criteria.index("UID") + 1].partition(":")[0])
        found = [n * 10 for n in range(first, last + 1) if n * 10 >= lowest] or [self.count * 10]  # n:* names the last
        self.largest = max(self.largest, len(found))
        return found


@pytest.mark.parametrize("count", [1, 3, SEARCH_WINDOW, SEARCH_WINDOW + 1, 2 * SEARCH_WINDOW + 7])
def test_searches_are_bounded_and_complete(count: int) -> None:
    client = Client(count)
    session = ImapSession(client, "IMAP x")
    assert session.search(1, count) == [n * 10 for n in range(1, count + 1)]
    assert client.largest <= SEARCH_WINDOW
    assert session.search(count * 10, count) == [count * 10]
    assert session.search(count * 10 + 1, count) == []


def test_a_resync_reads_back_to_the_last_look_but_not_before_the_start() -> None:
    day = timedelta(days=1).total_seconds()
    folder = Folder(1, 500, at=100 * day)
    folder.recreated(2, started=10 * day)
    assert (folder.validity, folder.next, folder.floor) == (2, 1, 98 * day)
    folder.at = 99 * day
    folder.recreated(3, started=10 * day)  # again, before the first was done
    assert folder.floor == 97 * day
    young = Folder(1, 5, at=100 * day)
    young.recreated(2, started=100 * day)
    assert young.floor == 99 * day


def test_holes_are_forgotten_after_a_while() -> None:
    folder = Folder(1, 1, 0.0)
    folder.dealt_with([1, 3], [], now=0.0)
    assert set(folder.holes) == {2}
    folder.dealt_with([2], [2], now=60.0)
    assert set(folder.holes) == {2}
    folder.dealt_with([2, 4], [2], now=7200.0)
    assert folder.holes == {}


PLAIN = {"host": "h.example", "username": "u", "password": "p"}
APP = {"client_id": "c"}


def test_keys() -> None:
    assert ImapSettings.model_validate(PLAIN).effective_port == 993
    assert ImapSettings.model_validate({**PLAIN, "tls": "starttls"}).effective_port == 143
    assert "p'" not in repr(ImapSettings.model_validate(PLAIN).password)
    for model in (ImapSettings, ImapAuth):
        for name, key in model.model_fields.items():
            assert key.description, f"{name} has no description for the docs"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tls": "none"}, r"127\.0\.0\.1 only"),
        ({"own_addresses": ["nobody"]}, "not an e-mail address"),
        ({"host": "imap.example.com:993"}, "is not a host name; write imap.example.com, and another port as port:"),
        ({"host": "https://imap.example.com/"}, "is not a host name"),
        ({"host": ""}, "host is missing.*gmail, microsoft365, zoho_mail"),
        ({"password": None}, "neither password nor auth is set; set exactly one"),
        ({"auth": APP}, "password and auth are both set; set exactly one"),
        ({"password": None, "auth": APP}, "set auth.token_url"),
        (
            {"password": None, "auth": {**APP, "token_url": "http://x.example/t"}},
            "plain http:// is allowed for this machine",
        ),
        ({"data_center": "eu"}, "goes with preset: zoho_mail only"),
        ({"preset": "microsoft365"}, "takes no passwords over IMAP any more; set auth:"),
        ({"preset": "zoho_mail", "password": None, "auth": APP}, "offers no OAuth sign-in over IMAP; set password:"),
        ({"preset": "gmail", "password": None, "auth": {**APP, "flow": "client_credentials"}}, "needs client_secret"),
        (
            {
                "preset": "microsoft365",
                "password": None,
                "auth": {**APP, "flow": "client_credentials", "client_secret": "s"},
            },
            "also needs auth.tenant",
        ),
        (
            {
                "password": None,
                "auth": {**APP, "flow": "client_credentials", "client_secret": "s", "refresh_token": "r"},
            },
            "has no refresh_token",
        ),
        ({"preset": "yahoo"}, "gmail"),
        ({"preset": ["gmail"]}, "gmail"),
        ({"preset": "zoho_mail", "data_center": {}}, "'us'"),
    ],
)
def test_wrong_keys(keys: dict[str, Any], says: str) -> None:
    given = {key: value for key, value in {**PLAIN, **keys}.items() if value is not None}
    with pytest.raises(ValidationError, match=says):
        ImapSettings.model_validate(given)


def preset(name: str, **keys: Any) -> ImapSettings:
    return ImapSettings.model_validate({"preset": name, "username": "u@x.example", **keys})


def test_presets_fill_in_what_is_not_written() -> None:
    gmail = preset("gmail", password="p")
    assert (gmail.host, gmail.effective_port, gmail.tls) == ("imap.gmail.com", 993, "implicit")
    assert preset("gmail", password="p", host="127.0.0.1", port=1143, tls="none").effective_port == 1143
    assert preset("gmail", password="p", tls="starttls").effective_port == 143
    assert preset("zoho_mail", password="p").host == "imappro.zoho.com"
    assert preset("zoho_mail", password="p", data_center="eu").host == "imappro.zoho.eu"
    assert preset("zoho_mail", password="p", data_center="eu", host="imap.zoho.eu").host == "imap.zoho.eu"


def test_presets_know_where_to_sign_in() -> None:
    source = ImapSource(preset("gmail", auth=APP), Context(name="inbox", tokens=MemoryTokens()))
    wanted = source.sign_in()
    assert wanted.authorize_url == "https://accounts.google.com/o/oauth2/v2/auth"
    assert wanted.scopes == ("https://mail.google.com/",)
    assert wanted.parameters["access_type"] == "offline"
    microsoft = preset("microsoft365", auth={**APP, "tenant": "contoso.example"})
    assert microsoft.token_url == "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
    assert "offline_access" in microsoft.scopes
    app = {**APP, "tenant": "t", "client_secret": "s", "flow": "client_credentials"}
    assert preset("microsoft365", auth=app).scopes == ("https://outlook.office365.com/.default",)
    own = preset("microsoft365", auth={**APP, "token_url": "http://127.0.0.1:1/token", "scopes": ["x"]})
    assert (own.token_url, own.scopes) == ("http://127.0.0.1:1/token", ("x",))
    assert "common" in own.authorize_url


def test_a_password_is_nothing_to_sign_in_for() -> None:
    source = ImapSource(preset("gmail", password="p"), Context(name="inbox", tokens=MemoryTokens()))
    with pytest.raises(UsageError, match="inbox signs in by password"):
        source.sign_in()


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("Request is throttled. Suggested Backoff Time: 299961 milliseconds", 299.961),
        ("BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds", 89.117),
        ("[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", BANDWIDTH_PAUSE),
        ("[ALERT] Too many simultaneous connections. (Failure)", CONNECTIONS_PAUSE),
        ("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", CONNECTIONS_PAUSE),
        ("[THROTTLED] slow down", LOGIN_PAUSE),
        ("[LIMIT] Rate limit hit", LOGIN_PAUSE),
        ("[UNAVAILABLE] Too many login attempts", LOGIN_PAUSE),
    ],
)
def test_how_long_to_keep_away(text: str, pause: float) -> None:
    for failure in (
        refusal("IMAP x", imaplib.IMAP4.error(text), Misconfigured),
        broken("IMAP x", imaplib.IMAP4.abort(text)),
    ):
        assert isinstance(failure, RateLimited), failure
        assert failure.retry_after == pytest.approx(pause)


def test_throttling_at_a_mail_is_no_fault_of_the_mail() -> None:
    class Tired(Server):
        def bodies(self, uids: Collection[int], *, head_only: bool = False) -> dict[int, bytes]:
            raise RateLimited("slow down", retry_after=1)

    page = read(Tired({1: mail(1)}), [1])
    assert isinstance(page.lost, RateLimited)
    assert (page.lost_at, page.missing, page.uids) == (0, [], [])
