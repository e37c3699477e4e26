"""The `maildir` source: mails as files, read without ever changing them. The registry builds it; the intake polls it.

A maildir has no ids and its clocks are anybody's, so the cursor is exact instead of clever: the set of file names (without
flags) that were there, as 48-bit hashes, 6 bytes a mail. Moves from new/ to cur/ and flag changes keep the name, so
nothing is read twice; a mail copied in with an old date is still new; a file that cannot be read is tried again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

import msgspec
from pydantic import Field, field_validator

from syncd.capabilities import Finding
from syncd.connector import Batch, Connector, Context
from syncd.connectors.mail.dropbox import read_incoming
from syncd.connectors.mail.mail_check import check_maildir
from syncd.connectors.mail.message import HEAD_BYTES
from syncd.connectors.mail.reading import SIGNALS, Envelope, Readings, Rules
from syncd.connectors.mail.sent import SENT_SIGNAL, types_of
from syncd.connectors.mail.settings import MailSettings
from syncd.errors import Misconfigured, Transient
from syncd.signals import Route

PAGE = 50
_HASH_BYTES = 6


class MaildirSettings(MailSettings):
    """Keys of a `maildir` source."""

    path: Path = Field(description="The maildir: the directory that holds `new/` and `cur/`.")
    folders: tuple[str, ...] = Field(
        default=("INBOX",),
        min_length=1,
        description="Folders to watch. `INBOX` is the maildir itself; `Sent` is its `.Sent` (Maildir++) or, if that is not "
        "there, its subdirectory `Sent`.",
    )

    @field_validator("folders")
    @classmethod
    def _inside(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} is not a folder name; write it like INBOX or Archive.2026")
        return names


class _State(msgspec.Struct):
    """Folder -> packed names that were there."""

    folders: dict[str, bytes] = {}


class _Progress(msgspec.Struct):
    """Of a backfill: the folder under way and the last file name done in it."""

    folder: str
    name: bytes


@dataclass(frozen=True)
class _File:
    """One mail file: `name` is what stays the same when it is moved or flagged."""

    path: str
    name: str

    @property
    def seen(self) -> bool:
        _, mark, flags = os.path.basename(self.path).partition(":2,")
        return bool(mark) and "S" in flags


class MaildirSource:
    """Polls and backfills one maildir. Holds no state but its settings."""

    def __init__(self, settings: MaildirSettings, context: Context) -> None:
        self._settings = settings.model_copy(update={"path": context.beside(settings.path)})
        self._clock = context.clock
        self._rules = Rules(
            source=context.name,
            own=frozenset(settings.own_addresses),
            lists=settings.lists,
            auto_replies=settings.auto_replies,
            headers_only=settings.capture == "headers",
            region=context.region,
            dropbox=settings.dropbox,
        )

    def start(self, now: datetime) -> bytes:
        """Everything that is there now is history."""
        return _encode({name: {_hash(file.name) for file in self._files(name)} for name in self._settings.folders})

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """Files that were not there before, oldest first. A folder new in the settings starts at now."""
        known = _decode(state)
        for folder in self._settings.folders:
            files = self._files(folder)
            if folder not in known:
                known[folder] = {_hash(file.name) for file in files}
                yield Batch(state=_encode(known))
                continue
            yield from self._poll_folder(folder, files, known, now)

    def _poll_folder(
        self, folder: str, files: list[_File], known: dict[str, set[bytes]], now: datetime
    ) -> Iterator[Batch]:
        seen = known[folder]
        fresh = [file for file in files if _hash(file.name) not in seen]
        if not fresh:
            return
        # Names are forgotten only when two listings miss them: one listing may miss a file that is renamed meanwhile.
        there = {_hash(file.name) for file in (*files, *self._files(folder))}
        seen &= there
        fresh.sort(key=_age)
        for page in _pages(fresh):
            read, done = self._read(page, now, Route.POLL)
            seen |= {_hash(file.name) for file in done}
            if done or read.dropped:
                state = _encode(known) if done else None
                yield Batch(signals=read.signals, state=state, dropped=read.dropped, formerly=read.formerly)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every mail of the range, in the order of file names; continues behind the last name done."""
        progress = msgspec.msgpack.decode(state, type=_Progress) if state else None
        folders = list(self._settings.folders)
        if progress and progress.folder in folders:
            folders = folders[folders.index(progress.folder) :]
        for folder in folders:
            after = progress.name if progress and progress.folder == folder else b""
            files = sorted(
                (f for f in self._files(folder) if os.fsencode(f.name) > after), key=lambda f: os.fsencode(f.name)
            )
            for page in _pages(files):
                read, _ = self._read(page, self._clock(), Route.BACKFILL)
                yield Batch(
                    signals=[signal for signal in read.signals if since <= signal.occurred_at < until],
                    state=msgspec.msgpack.encode(_Progress(folder, os.fsencode(page[-1].name))),
                    dropped=read.dropped,
                    formerly=read.formerly,
                )

    def _read(self, page: list[_File], now: datetime, route: Route) -> tuple[Readings, list[_File]]:
        """What the files came to, and those that are done with. A file that moved away is looked for again by the
        next poll; one that cannot be read too, and is counted."""
        read = Readings()
        done: list[_File] = []
        for file in page:
            try:
                raw, envelope = self._open(file)
            except FileNotFoundError:
                continue
            except OSError:
                read.dropped["unreadable"] += 1
                continue
            read.add(read_incoming(raw, envelope, self._rules, now, route))
            done.append(file)
        return read, done

    def check_online(self) -> Iterator[Finding]:
        """Whether every folder is there and may be read."""
        return check_maildir(self._settings.path, self._settings.folders, self._files)

    def _open(self, file: _File) -> tuple[bytes, Envelope]:
        path = file.path
        if not os.path.exists(path):
            path = self._moved(file)
        # Not waiting: a name that leads to a pipe must not stop the source.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            stat = os.fstat(opened.fileno())
            if not S_ISREG(stat.st_mode):
                raise OSError(f"{path} is not a regular file")
            truncated = stat.st_size > self._settings.max_size
            raw = opened.read(HEAD_BYTES if truncated else int(self._settings.max_size))
        arrived = _moment(stat.st_mtime)
        return raw, Envelope(arrived, stat.st_size, replace(file, path=path).seen, truncated)

    def _moved(self, file: _File) -> str:
        """Where a file went that was moved to cur/ or flagged since it was listed."""
        current = Path(file.path).parent.parent / "cur"
        with os.scandir(current) as entries:
            return next((entry.path for entry in entries if entry.name.partition(":")[0] == file.name), file.path)

    def _files(self, folder: str) -> list[_File]:
        """The mails of a folder; new/ is listed before cur/, so that a mail moved meanwhile is not missed."""
        root = self._directory(folder)
        files: dict[str, _File] = {}
        for part in ("new", "cur"):
            try:
                with os.scandir(root / part) as entries:
                    for entry in entries:
                        name = entry.name.partition(":")[0]
                        if name and not name.startswith(".") and _may_be_mail(entry):
                            files[name] = _File(entry.path, name)
            except FileNotFoundError:
                if part == "cur" and not root.is_dir():
                    raise self._absent(folder, root) from None
            except PermissionError as error:
                raise Misconfigured(
                    f"maildir {self._settings.path}: {root / part} may not be read; give the user syncd runs as read access",
                    code="permission",
                ) from error
            except OSError as error:
                raise Transient(
                    f"maildir {root / part}: {error.strerror or error}", code=str(error.errno or "")
                ) from error
        return list(files.values())

    def _directory(self, folder: str) -> Path:
        root = self._settings.path
        if folder.upper() == "INBOX":
            if not (root / "new").is_dir() and not (root / "cur").is_dir():
                raise self._absent(folder, root)
            return root
        from imapclient.imap_utf7 import encode  # Maildir++ names folders on disk as IMAP does on the wire

        wire = encode(folder).decode("ascii")
        choices = (
            root / f".{wire.replace('/', '.')}",
            root / wire,
            root / f".{folder.replace('/', '.')}",
            root / folder,
        )
        found = next((choice for choice in choices if (choice / "cur").is_dir() or (choice / "new").is_dir()), None)
        if found is None:
            raise self._absent(folder, choices[0])
        return found

    def _absent(self, folder: str, directory: Path) -> Misconfigured:
        there = ", ".join(self._folder_names()) or "none"
        return Misconfigured(
            f"maildir {self._settings.path}: no folder {folder} ({directory} has no new/ or cur/); folders there: {there}",
            code="no_folder",
            field="folders",
        )

    def _folder_names(self) -> list[str]:
        from imapclient.imap_utf7 import decode

        root = self._settings.path
        try:
            names = [path.name for path in root.iterdir() if (path / "cur").is_dir()]
        except OSError:
            return []
        inbox = ["INBOX"] if (root / "cur").is_dir() else []
        return inbox + sorted(decode(name.removeprefix(".").encode("utf-8", "replace")) for name in names)[:20]


def _may_be_mail(entry: os.DirEntry[str]) -> bool:
    """By what the listing says, without following links: a broken one is found, and counted, when it is opened."""
    return entry.is_file(follow_symlinks=False) or entry.is_symlink()


def _hash(name: str) -> bytes:
    return hashlib.blake2b(os.fsencode(name), digest_size=_HASH_BYTES).digest()


def _encode(known: dict[str, set[bytes]]) -> bytes:
    return msgspec.msgpack.encode(_State({folder: b"".join(sorted(names)) for folder, names in known.items()}))


def _decode(state: bytes) -> dict[str, set[bytes]]:
    packed = msgspec.msgpack.decode(state, type=_State).folders
    return {
        folder: {names[at : at + _HASH_BYTES] for at in range(0, len(names), _HASH_BYTES)}
        for folder, names in packed.items()
    }


def _age(file: _File) -> tuple[int, str]:
    try:
        return os.stat(file.path).st_mtime_ns, file.name
    except OSError:
        return 0, file.name


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def _pages(files: list[_File]) -> Iterator[list[_File]]:
    return (files[at : at + PAGE] for at in range(0, len(files), PAGE))


CONNECTOR = Connector(
    name="maildir",
    contract=2,
    role="source",
    summary="Mail received and bounces, from the files of a maildir",
    settings=MaildirSettings,
    build=MaildirSource,
    signals=(*SIGNALS, SENT_SIGNAL),
    makes=lambda settings, switches: types_of(settings),
)
