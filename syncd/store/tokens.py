"""Tokens at rest: encrypted, refreshed once however many threads, processes or machines find them expired.

The HTTP clients of connectors ask here through `syncd.http.oauth.TokenStore`. Promise: a rotated refresh token is durable before
anybody uses it; nothing here logs or shows a token; waiting for another process's refresh is bounded.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import URL, Connection, delete, insert, select

from syncd.errors import Misconfigured, Transient, UsageError
from syncd.http.lockout import keyed
from syncd.http.oauth import Mint, Token
from syncd.store.journal.entries import StoreUnavailable
from syncd.store.leases import TERM, Claim, Leases, still_held
from syncd.store.schema import tokens

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

    from syncd.store.database import Database

LEASE = TERM
"""As long as that of a lane: who takes a lane over from a process that is frozen in a mint waits no longer for its token."""
PATIENCE = timedelta(seconds=75)
"""How long one waits for another process to refresh: longer than its lease, so that a dead one is succeeded."""
GLANCE = 0.05
SHORTEST_SECRET = 32

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Token).decode


class StoredTokens:
    """The `TokenStore` on the database."""

    def __init__(
        self,
        store: Database,
        leases: Leases,
        key_source: str | bytes | None = None,
        *,
        patience: timedelta = PATIENCE,
        glance: float = GLANCE,
    ) -> None:
        self._store = store
        self._leases = leases
        self._key_source = key_source
        self._patience = patience.total_seconds()
        self._glance = glance
        self._guard = threading.Lock()
        self._seen: dict[str, Token] = {}
        self._unsaved: dict[str, Token] = {}  # minted, but the database could not take it: kept, or a rotation is lost
        self._flights: dict[str, Future[Token]] = {}
        self._pause = threading.Event()

    def token(self, grant: str, mint: Mint, *, refused: str = "") -> Token:
        """See `syncd.http.oauth.TokenStore`. Raises the Failure of `mint`; Misconfigured when the key is absent or wrong;
        Transient when another process has been refreshing for too long; StoreUnavailable."""
        while True:
            with self._guard:
                held = self._seen.get(grant)
                if held is not None and self._good(held, refused):
                    return held
                flight = self._flights.get(grant)
                leading = flight is None
                if flight is None:
                    flight = self._flights[grant] = Future()
            if leading:
                self._fly(grant, mint, refused, flight)
            found = flight.result()
            if leading or found.access != refused:
                return found

    def put(self, grant: str, token: Token) -> None:
        """Stores a token from an interactive sign-in: durable when this returns, and under the grant's lease,
        so that no refresh under way puts an older one over it. Raises Transient when another process has been refreshing
        for too long; StoreUnavailable; UsageError for a key that is absent or wrong."""
        sealed = self._seal(token)
        self._under_lease(grant, lambda connection: _put(connection, grant, sealed, self._store.now()))

    def forget(self, grant: str) -> bool:
        """Removes a stored token; False when there was none. Raises as `put`."""
        gone = delete(tokens).where(tokens.c.grant_id == grant)
        return self._under_lease(grant, lambda connection: connection.execute(gone).rowcount > 0)

    def stored(self, grant: str) -> Token | None:
        """The token as it is kept, good or not; None without one. Raises UsageError when the key does not open it."""
        return self._read(grant)

    def look_again(self, grant: str) -> None:
        """Somebody stored or removed this grant's token elsewhere: the next who asks reads it afresh."""
        with self._guard:
            self._seen.pop(grant, None)

    def _under_lease(self, grant: str, change: Callable[[Connection], bool]) -> bool:
        deadline = time.monotonic() + self._patience
        done: bool | None = None
        while done is None:  # None: we stalled beyond the lease, and nothing was changed
            claim = self._lease(grant, deadline)
            if claim is not None:
                with self._leases.heartbeat(claim):
                    done = self._store.apply(partial(self._changed, claim, change))
        self._unsaved.pop(grant, None)
        self.look_again(grant)
        return done

    def _changed(self, claim: Claim, change: Callable[[Connection], bool], connection: Connection) -> bool | None:
        return change(connection) if still_held(self._store, connection, claim.lease, claim.claim) else None

    def seal_text(self, text: str) -> str:
        """A short text encrypted by the store's key, as ASCII. Raises UsageError when the key is absent."""
        return self._cipher.encrypt(text.encode("utf-8", "surrogatepass")).decode("ascii")

    def open_text(self, sealed: str) -> str:
        """What `seal_text` was given. Raises UsageError when the key does not open it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._cipher.decrypt(sealed.encode("ascii")).decode("utf-8", "surrogatepass")
        except (InvalidToken, UnicodeError) as error:
            raise UsageError(WRONG_KEY) from error

    def check_key(self) -> None:
        """Makes sure that there is a key. Raises UsageError with one line."""
        _ = self._cipher

    def mark(self, *credentials: str) -> str:
        """The mark of credentials by the store's key; see `syncd.http.lockout`. Raises UsageError, StoreUnavailable."""
        return keyed(self._key, *credentials)

    def check(self) -> None:
        """Makes sure that there is a key and that it opens what is stored. Raises UsageError with one line."""
        _ = self._cipher
        with self._store.read() as connection:
            for row in connection.execute(select(tokens.c.grant_id)):
                self._read(row.grant_id)

    def _good(self, token: Token, refused: str) -> bool:
        return token.access != refused and token.fresh(self._store.clock())

    def _fly(self, grant: str, mint: Mint, refused: str, flight: Future[Token]) -> None:
        """One thread of this process looks and mints for all; a failure is everybody's."""
        try:
            found = self._find_or_mint(grant, mint, refused)
        except BaseException as error:  # noqa: BLE001 - raised to everybody who waits, this thread included
            with self._guard:
                del self._flights[grant]
            flight.set_exception(_as_failure(error))
        else:
            with self._guard:
                self._seen[grant] = found
                del self._flights[grant]
            flight.set_result(found)

    def _find_or_mint(self, grant: str, mint: Mint, refused: str) -> Token:
        _ = self._cipher  # without a key nothing is minted: a rotated token that cannot be stored is lost
        deadline = time.monotonic() + self._patience
        while True:
            held = self._read(grant)
            if held is not None and self._good(held, refused) and grant not in self._unsaved:
                return held
            claim = self._lease(grant, deadline)
            if claim is not None:
                with self._leases.heartbeat(claim):
                    return self._mint(grant, mint, refused, claim)

    def _lease(self, grant: str, deadline: float) -> Claim | None:
        """The grant's lease, or None after a moment's wait. Raises Transient after the deadline."""
        claim = self._leases.acquire(f"token:{grant}", LEASE)
        if claim is None:
            if time.monotonic() > deadline:
                holder = self._leases.holder(f"token:{grant}")
                raise Transient(f"another process ({holder}) has been refreshing this token for {self._patience:.0f} s")
            self._pause.wait(self._glance)
        return claim

    def _mint(self, grant: str, mint: Mint, refused: str, claim: Claim) -> Token:
        held = self._unsaved.get(grant) or self._read(
            grant
        )  # read again under the lease: another process may have been quicker
        made = held
        if made is None or not self._good(made, refused):
            made = mint(held)
            if held is not None and not made.refresh:
                made = msgspec.structs.replace(made, refresh=held.refresh)
        if made is held and grant not in self._unsaved:
            return made
        sealed = self._seal(made)
        self._unsaved[grant] = made
        saved = self._store.apply(
            lambda connection: (
                still_held(self._store, connection, claim.lease, claim.claim)
                and _put(connection, grant, sealed, self._store.now())
            )
        )
        del self._unsaved[grant]
        if not saved:  # we stalled beyond the lease: whoever took it has the last word
            made = self._read(grant) or made
        return made

    # ------------------------------------------------------------------------------------------------ encryption

    @cached_property
    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet

        return Fernet(self._key)

    @cached_property
    def _key(self) -> bytes:
        return _fernet_key(self._key_source or self._key_file())

    def _key_file(self) -> bytes:
        if self._store.postgresql:
            raise UsageError(NO_KEY)
        return key_beside(Path(str(self._store.url.database)))

    def _seal(self, token: Token) -> bytes:
        return self._cipher.encrypt(_encode(token))

    def _read(self, grant: str) -> Token | None:
        from cryptography.fernet import InvalidToken

        with self._store.read() as connection:
            sealed = connection.execute(select(tokens.c.sealed).where(tokens.c.grant_id == grant)).scalar()
        if sealed is None:
            return None
        try:
            return _decode(self._cipher.decrypt(bytes(sealed)))
        except (InvalidToken, msgspec.DecodeError) as error:
            raise UsageError(WRONG_KEY) from error


def _as_failure(error: BaseException) -> BaseException:
    """Lanes and polls speak in failures: a wrong key holds them and is shown."""
    return Misconfigured(str(error)) if isinstance(error, UsageError) else error


def _put(connection: Connection, grant: str, sealed: bytes, now: int) -> bool:
    connection.execute(delete(tokens).where(tokens.c.grant_id == grant))
    connection.execute(insert(tokens).values(grant_id=grant, sealed=sealed, updated_at=now))
    return True


WRONG_KEY = (
    "secret_key: the stored tokens were encrypted with another key; put the former key back "
    "(on SQLite: the file DATABASE.key); if it is lost, empty the table `tokens`: new ones are asked for"
)
NO_KEY = (
    "secret_key: tokens are stored encrypted, and PostgreSQL has no place for the key; put 32 or more random "
    "characters into a file on every machine and write secret_key: ${file:/path}"
)


def check_key_text(url: URL, key: str | None) -> None:
    """Raises UsageError when this `secret_key:` (None: not given) cannot encrypt what is stored at this database."""
    if key is not None:
        _fernet_key(key)
    elif url.get_backend_name() == "postgresql":
        raise UsageError(NO_KEY)


def _fernet_key(source: str | bytes) -> bytes:
    """A Fernet key as it is; any other secret of at least 32 characters through SHA-256."""
    secret = (source.encode() if isinstance(source, str) else source).strip()
    with contextlib.suppress(ValueError):
        if len(base64.urlsafe_b64decode(secret)) == 32:
            return secret
    if len(secret) < SHORTEST_SECRET:
        raise UsageError(
            f"secret_key: {len(secret)} characters are too few to be secret; use {SHORTEST_SECRET} or more random ones "
            "(for example from `openssl rand -base64 32`)"
        )
    return base64.urlsafe_b64encode(hashlib.sha256(b"syncd secret key\0" + secret).digest())


def key_beside(database: Path) -> bytes:
    """The key in `<database>.key`, made (0600, whole or not at all) when absent. Raises StoreUnavailable."""
    path = database.with_name(database.name + ".key")
    try:
        if not path.exists():
            _make_key(path)
        return path.read_bytes()
    except OSError as error:
        raise StoreUnavailable(f"secret_key: {path}: {error.strerror}; grant syncd reading and writing it") from error


def _make_key(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(32)) + b"\n")  # as Fernet makes one, without loading it
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key is the key
            os.link(name, path)
    finally:
        os.unlink(name)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
