"""A stand-in for Asterisk's manager interface over TCP: banner, sign-in, Ping, and frames that a test sends. From the AMI
specification and a recorded stream, never from the connector."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class AmiServer(socketserver.ThreadingTCPServer):
    """`accounts`: user -> secret. `silent`: it answers no Ping."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.accounts = {"syncd": "ami-secret-0815"}
        self.banner = b"Asterisk Call Manager/5.0.5\r\n"
        self.silent = False
        self.actions: list[dict[str, str]] = []
        self.changed = threading.Condition()
        self.signed_in: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def say(self, stream: bytes | str) -> None:
        """Sends frames to everyone who has signed in."""
        data = stream.encode() if isinstance(stream, str) else stream
        with self.changed:
            for one in self.signed_in:
                one.sendall(data)

    def hang_up(self) -> None:
        """Closes every connection, as a restart of Asterisk does."""
        with self.changed:
            for one in self.signed_in:
                one.shutdown(socket.SHUT_RDWR)
            self.signed_in.clear()


class _Session(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        try:
            self._serve()
        except OSError:  # whoever was here has gone
            pass
        finally:
            with self.server.changed:
                if self.request in self.server.signed_in:
                    self.server.signed_in.remove(self.request)

    def _serve(self) -> None:
        self.wfile.write(self.server.banner)
        action: dict[str, str] = {}
        for line in self.rfile:
            text = line.decode().strip()
            if text:
                name, _, value = text.partition(":")
                action[name.strip()] = value.strip()
            elif action:
                self._answer(action)
                action = {}

    def _answer(self, action: dict[str, str]) -> None:
        server = self.server
        with server.changed:
            server.actions.append(action)
            server.changed.notify_all()
        if action["Action"] == "Login":
            good = server.accounts.get(action.get("Username", "")) == action.get("Secret")
            said = "Success\r\nMessage: Authentication accepted" if good else "Error\r\nMessage: Authentication failed"
            with server.changed:
                self.wfile.write(f"Response: {said}\r\n\r\n".encode())
                if good:
                    server.signed_in.append(self.request)
        elif action["Action"] == "Ping" and not server.silent:
            self.wfile.write(b"Response: Success\r\nPing: Pong\r\nTimestamp: 1781705122.1\r\n\r\n")


@contextmanager
def ami_server() -> Iterator[AmiServer]:
    server = AmiServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.hang_up()
        server.shutdown()
        server.server_close()
        thread.join(5)
