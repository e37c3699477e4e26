"""A private Dovecot on a free loopback port, for tests and benchmarks; and a proxy that cuts its connections.

Runs as the user who runs the tests (as Dovecot's own users when that is root). Every user's mail is a maildir.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOVECOT = "/usr/sbin/dovecot"
PASSWORD = "correct-horse"
TOKEN_KEY = b"k" * 32

_CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
disable_plaintext_auth = no
auth_mechanisms = plain xoauth2
auth_failure_delay = 0
mail_location = maildir:{dir}/mail/%u
mail_max_userip_connections = 50
first_valid_uid = 0
first_valid_gid = 0
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {internal_group}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service stats {{
  chroot =
}}
passdb {{
  driver = static
  mechanisms = plain
  args = password={password}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {dir}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Verschickt {{
    special_use = \\Sent
  }}
}}
"""


_OAUTH = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={dir}/keys/
username_attribute = email
"""


@dataclass(frozen=True)
class Dovecot:
    """A running server. Any user name logs in with `password`, or by XOAUTH2 with a JWT (HS256 with `token_key`) that has it as
    `email` and has not expired; `maildir(user)` is where his mail lies."""

    port: int
    tls_port: int
    directory: Path
    certificate: Path
    password: str = PASSWORD
    token_key: bytes = TOKEN_KEY
    host: str = "127.0.0.1"

    def maildir(self, user: str) -> Path:
        return self.directory / "mail" / user

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    @contextlib.contextmanager
    def client(self, user: str) -> Iterator[imaplib.IMAP4]:
        """A logged-in client of the standard library, independent of the one under test."""
        client = imaplib.IMAP4(self.host, self.port, timeout=20)
        try:
            client.login(user, self.password)
            yield client
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                client.logout()

    def append(self, user: str, mail: bytes, folder: str = "INBOX", at: float | None = None, flags: str = "") -> None:
        """Puts a mail into a folder (`at`: INTERNALDATE as epoch seconds)."""
        with self.client(user) as client:
            moment = imaplib.Time2Internaldate(at) if at is not None else ""
            answer, detail = client.append(folder, flags, moment, mail)
            assert answer == "OK", detail


@contextlib.contextmanager
def dovecot_server() -> Iterator[Dovecot]:
    """Starts Dovecot, yields it when it greets, and stops it. Skips the test where Dovecot is not installed."""
    if not Path(DOVECOT).exists():
        pytest.skip("Dovecot is not installed: apt-get install dovecot-imapd")
    directory = Path(tempfile.mkdtemp(prefix="syncd-dovecot-"))
    directory.chmod(0o755)
    process: subprocess.Popen[bytes] | None = None
    try:
        server = _configure(directory)
        process = subprocess.Popen([DOVECOT, "-F", "-c", str(directory / "dovecot.conf")], start_new_session=True)
        _await_greeting(server, process)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _configure(directory: Path) -> Dovecot:
    root = os.geteuid() == 0
    user = _name_of(os.geteuid())
    # Dovecot serves no mail as root.
    owner, group = _ids_of("dovecot") if root else (os.geteuid(), os.getegid())
    ports = free_ports(2)
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    config = _CONFIG.format(
        dir=directory,
        port=ports[0],
        tls_port=ports[1],
        password=PASSWORD,
        uid=owner,
        gid=group,
        internal="dovecot" if root else user,
        login="dovenull" if root else user,
        internal_group="dovecot" if root else _group_of(os.getegid()),
        ssl=f"yes\nssl_cert = <{certificate}\nssl_key = <{key}",
    )
    (directory / "dovecot.conf").write_text(config)
    (directory / "oauth2.conf").write_text(_OAUTH.format(dir=directory))
    keys = directory / "keys" / "default" / "HS256"
    keys.mkdir(parents=True)
    (keys / "default").write_bytes(base64.b64encode(TOKEN_KEY))
    for name in ("mail", "home"):
        (directory / name).mkdir()
        os.chown(directory / name, owner, group)
    return Dovecot(ports[0], ports[1], directory, certificate)


def _ids_of(name: str) -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


def _name_of(uid: int) -> str:
    import pwd

    return pwd.getpwuid(uid).pw_name


def _group_of(gid: int) -> str:
    import grp

    return grp.getgrgid(gid).gr_name


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listening.getsockname()[1]) for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def _await_greeting(server: Dovecot, process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise RuntimeError(f"Dovecot ended with {process.returncode}: {server.log()}")
        with contextlib.suppress(OSError), socket.create_connection((server.host, server.port), 1) as greeting:
            greeting.settimeout(5)
            if greeting.recv(5):
                return
        threading.Event().wait(0.05)  # the server says nothing of being ready: only asking tells
    raise RuntimeError(f"Dovecot does not answer: {server.log()}")


@dataclass
class CuttingProxy:
    """Passes connections on to `target`; each is cut after `allowance` bytes of the server's (None: never)."""

    target: tuple[str, int]
    allowance: int | None = None
    connections: int = 0
    port: int = 0
    _listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __enter__(self) -> CuttingProxy:
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self.target)
            threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self.allowance), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, allowance: int | None) -> None:
        with contextlib.suppress(OSError):
            while allowance is None or allowance > 0:
                chunk = source.recv(4096 if allowance is None else min(4096, allowance))
                if not chunk:
                    break
                sink.sendall(chunk)
                allowance = None if allowance is None else allowance - len(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
