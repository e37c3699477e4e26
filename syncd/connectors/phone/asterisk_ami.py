"""A connection to Asterisk's manager interface (AMI) over TCP or TLS: sign-in, frames, the question whether it still answers.

Facts: Asterisk's documentation, "AMI v2 specification": a banner line, then frames of `Key: value` lines that end with an empty
line. A key may repeat and a value be empty, hold a colon, or be no UTF-8. An address without a sign-in is closed after 30 s.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from syncd.connector import Context
from syncd.errors import Misconfigured, Transient

CONNECT = 10.0
"""Seconds to connect, and to answer an action."""
EVENTS = "call,agent"
LARGEST = 1_000_000
"""Bytes of a frame: more is not AMI."""
_BANNER = re.compile(rb"Asterisk Call Manager/([\d.]{1,20})")
_END = re.compile(rb"\r?\n\r?\n")

AmiFrame = Mapping[str, str]


@dataclass(frozen=True)
class AmiAddress:
    """Where AMI is, and who signs in. `ca`: certificates beside the machine's own; None: those alone."""

    host: str
    port: int
    tls: bool
    ca: Path | None
    username: str
    secret: str

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


class FrameReader:
    """Bytes go in as they come, whole frames come out. Of a key that repeats the first value counts."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[AmiFrame]:
        """Raises Transient for what is no AMI."""
        *blocks, self._rest = _END.split(self._rest + data)
        if len(self._rest) > LARGEST:
            raise Transient("AMI: a frame without an end", code="frame")
        return [frame for block in blocks if (frame := _frame(block))]


def _frame(block: bytes) -> AmiFrame:
    found: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


class AmiConnection:
    """A connection that has signed in."""

    def __init__(self, stream: socket.socket, place: str) -> None:
        self._stream, self._place, self._reader = stream, place, FrameReader()
        self._early: list[AmiFrame] = []
        self.version = ""

    def greet(self) -> None:
        """Reads the banner. Raises Misconfigured for something else, or Transient."""
        line = b""
        while b"\n" not in line and len(line) < 200:
            line += self._received(CONNECT) or self._silent()
        banner, _, rest = line.partition(b"\n")
        found = _BANNER.match(banner)
        if found is None:
            raise Misconfigured(
                f"AMI: what answers at {self._place} is not Asterisk's manager; check host and port", code="banner"
            )
        self.version = found[1].decode()
        self._early = self._reader.feed(rest)

    def sign_in(self, username: str, secret: str) -> None:
        """Raises Misconfigured if AMI refuses the sign-in, Transient for everything else."""
        self.send("Login", Username=username, Secret=secret, Events=EVENTS)
        answer = self._answer()
        if answer.get("Response") != "Success":
            said = answer.get("Message", "")[:200]
            raise Misconfigured(
                f"AMI: {self._place} refuses username or secret ({said}); check them, and permit= in manager.conf",
                code="login",
            )

    def send(self, action: str, **keys: str) -> None:
        lines = [f"Action: {action}", *(f"{name}: {value}" for name, value in keys.items())]
        try:
            self._stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        except OSError as error:
            raise Transient(f"AMI: the connection to {self._place} is lost: {error}", code="lost") from None

    def frames(self, seconds: float) -> list[AmiFrame]:
        """What came within so many seconds; an empty list if nothing did. Raises Transient when the connection is lost."""
        early, self._early = self._early, []
        return early or self._reader.feed(self._received(seconds))

    def _answer(self) -> AmiFrame:
        """The answer to an action; events before it are kept."""
        kept: list[AmiFrame] = []
        while True:
            frames = self.frames(CONNECT) or self._silent()
            for at, frame in enumerate(frames):
                if "Response" in frame:
                    self._early = [*kept, *frames[at + 1 :]]
                    return frame
                kept.append(frame)

    def _silent(self) -> NoReturn:
        raise Transient(f"AMI: {self._place} does not answer", code="silent")

    def _received(self, seconds: float) -> bytes:
        """b"" if nothing came."""
        try:
            self._stream.settimeout(seconds)
            data = self._stream.recv(65_536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise Transient(f"AMI: the connection to {self._place} is lost: {error}", code="lost") from None
        if not data:
            raise Transient(f"AMI: {self._place} closed the connection", code="lost")
        return data


@contextmanager
def opened(address: AmiAddress, context: Context) -> Iterator[AmiConnection]:
    """A connection that has signed in. Raises Misconfigured or Transient."""
    context.refusals.check(address.place, address.username, address.secret)
    stream = _connected(address)
    try:
        connection = AmiConnection(stream, address.place)
        connection.greet()
        with context.refusals.attempt(address.place, address.username, address.secret):
            connection.sign_in(address.username, address.secret)
        yield connection
    finally:
        stream.close()


def _connected(address: AmiAddress) -> socket.socket:
    try:
        stream = socket.create_connection((address.host, address.port), CONNECT)
    except OSError as error:
        raise Transient(f"AMI: cannot connect to {address.place}: {error}", code="connect") from None
    if not address.tls:
        return stream
    try:
        trusted = ssl.create_default_context()
        if address.ca is not None:
            trusted.load_verify_locations(address.ca)
        return trusted.wrap_socket(stream, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        stream.close()
        text = f"AMI: the certificate of {address.place} is not trusted ({error.verify_message}); set tls_ca to its certificate"
        raise Misconfigured(text, code="certificate") from None
    except (OSError, ValueError) as error:
        stream.close()
        raise Transient(f"AMI: no TLS with {address.place}: {error}", code="tls") from None
