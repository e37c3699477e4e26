"""A scripted IMAP server on loopback, for what a real one will not do on demand: throttle, fall silent, hang up, refuse.

It knows just enough of the protocol; `answers` maps a command to what is said instead. `seen` lists the commands by
connection, `logins` counts the attempts to sign in.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Answer = Callable[[str], bytes | None]
"""From a command's tag to the bytes to send; None: hang up. Lines end by CRLF; an answer without the tag leaves it open."""


def says(text: str) -> Answer:
    """`{tag}` stands for the command's tag."""
    return lambda tag: text.replace("{tag}", tag).replace("\n", "\r\n").encode() + b"\r\n"


def nothing(tag: str) -> bytes:
    return b""


def hangs_up(tag: str) -> None:
    return None


@dataclass
class ImapScript:
    """`capabilities` are announced before and after login. `silent`: connections are taken, nothing is ever said.
    `sasl`: (the explanation that follows what is said in AUTHENTICATE, if any; how it ends)."""

    capabilities: str = "IMAP4rev1 IDLE AUTH=PLAIN AUTH=XOAUTH2 LITERAL+"
    answers: dict[str, Answer] = field(default_factory=dict)
    silent: bool = False
    greeting: str = ""
    sasl: tuple[str, str] = ("", "OK done")
    sasl_said: list[str] = field(default_factory=list)
    port: int = 0
    seen: list[str] = field(default_factory=list)
    logins: int = 0
    connections: int = 0
    idling: threading.Event = field(default_factory=threading.Event)
    idlers: list[socket.socket] = field(default_factory=list)
    _listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> ImapScript:
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Hangs up on everybody."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def tell(self, line: str) -> None:
        """Says something to everybody who idles."""
        for connection in list(self.idlers):
            with contextlib.suppress(OSError):
                connection.sendall(line.encode() + b"\r\n")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            if self.silent:
                lines.read()
                return
            greeting = self.greeting or f"* OK [CAPABILITY {self.capabilities}] ready"
            connection.sendall(f"{greeting}\r\n".encode())
            for line in lines:
                answer = self._answer(line.decode("latin-1").strip(), connection, lines)
                if answer is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(answer)

    def _answer(self, line: str, connection: socket.socket, lines: object) -> bytes | None:
        tag, _, rest = line.partition(" ")
        words = rest.upper().split()
        command = words[1] if words[:1] == ["UID"] else words[0] if words else tag.upper()
        self.seen.append(command)
        if command in ("LOGIN", "AUTHENTICATE"):
            self.logins += 1
        if command in self.answers:
            return self.answers[command](tag)
        if command == "AUTHENTICATE":
            challenges = ["", self.sasl[0]] if self.sasl[0] else [""]
            for challenge in challenges:
                connection.sendall(f"+ {challenge}\r\n".encode())
                said = lines.readline().strip()  # type: ignore[attr-defined]
                self.sasl_said.append(base64.b64decode(said).decode())
            return f"{tag} {self.sasl[1]}\r\n".encode()
        if command == "IDLE":
            self.idlers.append(connection)
            connection.sendall(b"+ idling\r\n")
            self.idling.set()
            for told in lines:  # type: ignore[attr-defined]
                if told.strip().upper() == b"DONE":
                    break
            self.idlers.remove(connection)
            self.seen.append("DONE")
            return self.answers["DONE"](tag) if "DONE" in self.answers else f"{tag} OK done\r\n".encode()
        spoken = {
            "CAPABILITY": f"* CAPABILITY {self.capabilities}\n",
            "EXAMINE": "* 0 EXISTS\n* OK [UIDVALIDITY 7] ok\n* OK [UIDNEXT 1] ok\n",
            "SEARCH": "* SEARCH\n",
            "LOGOUT": "* BYE bye\n",
        }.get(command, "")
        return says(f"{spoken}{{tag}} OK done")(tag)
