"""One IMAP connection that only looks: EXAMINE, SEARCH, BODY.PEEK. `imap` drives it.

Never changes the mailbox. Every error leaves as a `Failure`; a refusal that concerns single mails is an answer, not an error.
"""

from __future__ import annotations

import imaplib
import socket
import ssl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from syncd import __version__
from syncd.connectors.mail.imap_errors import broken, refusal, speaks_of_us, translated
from syncd.connectors.mail.imap_login import LoginMethod
from syncd.connectors.mail.imap_sent import ListedFolder, listed_folder, sent_folder
from syncd.connectors.mail.message import HEAD_BYTES
from syncd.connectors.text import MIME_FAULTS
from syncd.errors import Failure, Misconfigured, Transient

if TYPE_CHECKING:
    from syncd.connectors.mail.imap_settings import ImapSettings

CONNECT_TIMEOUT = 20.0
READ_TIMEOUT = 90.0
SEARCH_WINDOW = 50_000
"""Messages one SEARCH may speak of: its answer is one line, and the standard library reads at most a million bytes."""


@dataclass(frozen=True)
class FolderStatus:
    """A folder as EXAMINE showed it: UIDVALIDITY, the next UID to be given, how many messages."""

    validity: int
    next: int
    exists: int


@dataclass(frozen=True)
class Meta:
    """What is known of a message before it is read."""

    size: int
    arrived_at: datetime
    seen: bool


class ImapSession:
    """A logged-in connection; use `opened`."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self._where = where
        self.idling = False

    def capabilities(self) -> tuple[str, ...]:
        """What the server says it can do, in capitals."""
        with translated(self._where):
            return tuple(sorted(bytes(one).decode("ascii", "replace").upper() for one in self._client.capabilities()))

    def examine(self, folder: str) -> FolderStatus:
        """Opens a folder read-only. Raises Misconfigured, listing what exists, when it is not there."""
        where = f"{self._where} folder {folder}"
        try:
            with self._asking(where):
                answer = self._client.select_folder(folder, readonly=True)
        except Failure as failure:
            raise self._absent(folder, failure) from failure
        validity, exists = int(answer.get(b"UIDVALIDITY", 0)), int(answer.get(b"EXISTS", 0))
        following = answer.get(b"UIDNEXT")
        if following is None:  # RFC 3501 allows its absence
            last = self._uids(["UID", "*"], where) if exists else []
            following = max(last, default=0) + 1
        return FolderStatus(validity, int(following), exists)

    def folders(self) -> list[ListedFolder]:
        """Every folder that the server lists."""
        with translated(self._where):
            return [listed_folder(*line) for line in self._client.list_folders()]

    def sent_folder(self) -> str:
        """The folder of sent mail. Raises Misconfigured, listing what exists, when none is known as that."""
        folders = self.folders()
        if found := sent_folder(folders):
            return found
        shown = ", ".join(folder.name for folder in folders[:20]) + (", …" if len(folders) > 20 else "")
        raise Misconfigured(
            f"{self._where}: no folder is known as that of sent mail; set sent_folder to one of: {shown}",
            code="no_folder",
            field="sent_folder",
        )

    def _absent(self, folder: str, failure: Failure) -> Failure:
        if failure.code == "lost" or not isinstance(failure, Transient):
            return failure
        names = [one.name for one in self.folders() if one.usable]
        if folder in names:
            return failure
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        return Misconfigured(
            f"{self._where}: there is no folder {folder!r}; set folders to some of: {shown}",
            code="no_folder",
            field="folders",
        )

    def search(self, first: int, exists: int, criteria: Sequence[Any] = ()) -> list[int]:
        """UIDs from `first` on, ascending. `UID n:*` also names the last message when n is beyond it: filtered here."""
        base: list[Any] = ["UID", f"{first}:*", *criteria]
        if exists <= SEARCH_WINDOW:
            return sorted({uid for uid in self._uids(base, self._where) if uid >= first})
        # By sequence numbers from the end: an expunge meanwhile shifts messages towards windows still to come.
        found: set[int] = set()
        for top in range(exists, 0, -SEARCH_WINDOW):
            window = f"{max(1, top - SEARCH_WINDOW + 1)}:{'*' if top == exists else top}"
            found.update(uid for uid in self._uids([window, *base], self._where) if uid >= first)
        return sorted(found)

    def _uids(self, criteria: Sequence[Any], where: str) -> list[int]:
        with self._asking(where):
            return [int(uid) for uid in self._client.search(list(criteria))]

    @contextmanager
    def _asking(self, where: str) -> Iterator[None]:
        """Errors as failures, with what the server said before it hung up: Microsoft 365 throttles so."""
        try:
            yield
        except (imaplib.IMAP4.abort, OSError, EOFError) as error:
            raise broken(where, error, self._complaints()) from error
        except BaseException as error:
            with translated(where):
                raise error

    def _complaints(self) -> str:
        """Untagged NO and BAD of this connection that nobody has read."""
        said = [
            *self._client._imap.untagged_responses.get("NO", []),
            *self._client._imap.untagged_responses.get("BAD", []),
        ]
        return " ".join(text.decode("utf-8", "replace") for text in said if isinstance(text, bytes))

    def metas(self, uids: Collection[int]) -> dict[int, Meta]:
        """Size, arrival and flags of those of the messages that still exist."""
        if not uids:
            return {}
        with self._asking(self._where):
            answer = self._client.fetch(sorted(uids), ["RFC822.SIZE", "INTERNALDATE", "FLAGS"])
        return {
            uid: Meta(
                int(row.get(b"RFC822.SIZE") or 0), _moment(row.get(b"INTERNALDATE")), b"\\Seen" in row.get(b"FLAGS", ())
            )
            for uid, row in answer.items()
            if b"RFC822.SIZE" in row or b"INTERNALDATE" in row
        }

    def bodies(self, uids: Collection[int], *, head_only: bool = False) -> dict[int, bytes]:
        """The bytes of messages (with `head_only` their first 256 KiB), never setting \\Seen; without those that are gone.

        Raises Refused when the server will not give one of them, and a Failure when the connection is lost.
        """
        item = f"BODY.PEEK[]<0.{HEAD_BYTES}>" if head_only else "BODY.PEEK[]"
        try:
            answer = self._client.fetch(sorted(uids), [item])
        except (imaplib.IMAP4.abort, OSError, EOFError) as error:
            raise broken(self._where, error, self._complaints()) from error
        except (imaplib.IMAP4.error, *MIME_FAULTS) as error:
            if speaks_of_us(error):
                raise refusal(self._where, error, Transient) from error
            raise FetchRefused(str(error)) from error
        key = b"BODY[]<0>" if head_only else b"BODY[]"
        return {uid: raw for uid, row in answer.items() if isinstance(raw := row.get(key), bytes) and raw}

    # ------------------------------------------------------------------------------------------------------- IDLE

    @property
    def can_idle(self) -> bool:
        with translated(self._where):
            return bool(self._client.has_capability("IDLE"))

    @property
    def socket(self) -> Any:
        """For `select`: readable when the server has said something."""
        return self._client.socket()

    def idle(self) -> None:
        """The server tells of news in the open folder from now on; `heard` and `rest` are all that may be called then."""
        with translated(self._where):
            # Where TCP itself can notice that the other side is gone, it may.
            self._client.socket().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._client.idle()
        self.idling = True

    def heard(self) -> bool:
        """Reads what the server has said, without waiting; whether mail may have come. Raises when the connection is gone."""
        with translated(self._where):
            said = self._client.idle_check(timeout=0)
            if not said and _at_its_end(self._client.socket()):
                raise EOFError("the server closed the connection")
        return self._news(said)

    def rest(self) -> None:
        """Asks the server to end IDLE; `rested` reads its answer."""
        with translated(self._where):
            self._client.socket().sendall(b"DONE\r\n")

    def rested(self) -> bool:
        """IDLE is over, once the server has begun to answer; whether mail may have come meanwhile."""
        with translated(self._where):
            _, said = self._client._consume_until_tagged_response(self._client._idle_tag, "IDLE")
        self.idling = False
        return self._news(said)

    def _news(self, said: Sequence[Any]) -> bool:
        goodbye = next((words for words in said if words and words[0] == b"BYE"), None)
        if goodbye is not None:
            text = b" ".join(word if isinstance(word, bytes) else str(word).encode() for word in goodbye)
            raise broken(self._where, imaplib.IMAP4.abort(text))
        return any(len(words) > 1 and words[1] in (b"EXISTS", b"RECENT") for words in said)


def _at_its_end(connected: Any) -> bool:
    """Whether a connection that seemed readable was closed by the other side: looked at below TLS."""
    try:
        connected.setblocking(False)
        return socket.socket.recv(connected, 1, socket.MSG_PEEK) == b""
    except (BlockingIOError, InterruptedError):
        return False
    finally:
        connected.settimeout(READ_TIMEOUT)


class FetchRefused(Exception):
    """The server answers NO (or nonsense) to a fetch: one of the messages is bad, the connection is not."""


@contextmanager
def opened(settings: ImapSettings, way: LoginMethod) -> Iterator[ImapSession]:
    """A logged-in session, closed whatever happens. Raises Misconfigured, RateLimited or Transient."""
    where = f"IMAP {settings.host}:{settings.effective_port}"
    client = _logged_in(settings, way, where)
    session = ImapSession(client, where)
    try:
        yield session
    finally:
        if session.idling:
            _leave(client)
        else:
            _close(client)


def _logged_in(settings: ImapSettings, way: LoginMethod, where: str) -> Any:
    """A connection on which the way in was open. A second try is made on a new one: some hosts hang up on the first."""
    refused = ""
    for last in (False, True):
        secret = way.prepare(refused)
        client = _connect(settings, where)
        try:
            if way.enter(client, f"{where} as {settings.username}", secret, last=last):
                _introduce(client, where)
                return client
        except BaseException:
            _close(client)
            raise
        _close(client)
        refused = secret
    raise AssertionError("the last try ends by success or failure")


def _introduce(client: Any, where: str) -> None:
    """Says who we are where the server takes it (ID, RFC 2971): NetEase (163, 126, yeah.net, 188) opens no folder before. What
    the server answers does not matter."""
    with translated(where):
        try:
            if client.has_capability("ID"):
                client.id_({"name": "syncd", "version": __version__, "vendor": "syncd"})
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, *MIME_FAULTS):
            pass  # refused, or an answer that cannot be read


def _connect(settings: ImapSettings, where: str) -> Any:
    from imapclient import IMAPClient, SocketTimeout

    with translated(where):
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        client = IMAPClient(
            settings.host,
            port=settings.effective_port,
            ssl=settings.tls == "implicit",
            ssl_context=context,
            timeout=SocketTimeout(CONNECT_TIMEOUT, READ_TIMEOUT),
        )
        client.normalise_times = False
        if settings.tls == "starttls":
            try:
                client.starttls(context)
            except BaseException:
                with suppress(OSError):
                    client.shutdown()
                raise
    return client


def _close(client: Any) -> None:
    try:
        client.logout()
    except (imaplib.IMAP4.error, OSError, EOFError, *MIME_FAULTS):
        with suppress(OSError, AttributeError):
            client.shutdown()


def _leave(client: Any) -> None:
    """Ends a connection that idles, without waiting for anything: the other side may be gone."""
    with suppress(imaplib.IMAP4.error, OSError, *MIME_FAULTS):
        connected = client.socket()
        connected.settimeout(0.2)
        connected.sendall(b"DONE\r\nX1 LOGOUT\r\n")
    with suppress(OSError, AttributeError):
        client.shutdown()


def _moment(value: Any) -> datetime:
    """INTERNALDATE in UTC; the epoch when the server gives none."""
    if not isinstance(value, datetime):
        return datetime.fromtimestamp(0, UTC)
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).astimezone(UTC)
