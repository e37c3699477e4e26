"""The HTTP client against sockets that misbehave: what never left, what is in doubt, deadlines, one refresh, no secrets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from syncd.errors import Ambiguous, AuthExpired, Failure, Misconfigured, Transient
from syncd.http import client as http
from syncd.http.client import Bearer, Deadlines, HttpClient, check_base_url
from syncd.http.oauth import MemoryTokens, Token

SECRET = "s3cr3t-token"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
QUICK = Deadlines(connect=2.0, read=0.25, total=0.4)
Behaviour = Callable[["Peer"], None]


class Peer:
    """One connection as the server sees it."""

    def __init__(self, connection: socket.socket, stop: threading.Event) -> None:
        self.connection = connection
        self.stop = stop

    def request(self) -> bytes:
        """The next whole request on this connection, b"" when there is none."""
        seen = b""
        while b"\r\n\r\n" not in seen:
            part = self.connection.recv(65536)
            if not part:
                return b""
            seen += part
        head, _, body = seen.partition(b"\r\n\r\n")
        length = next(
            (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += self.connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        """Closes by RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def drip(self, data: bytes) -> None:
        """A byte now and then, each well within any read timeout, until somebody hangs up."""
        for byte in data:
            if self.stop.wait(0.05):
                return
            self.send(bytes([byte]))


class Server:
    """Listens on loopback; every connection goes to `behave` in a thread of its own."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[bytes] = []
        self.stop = threading.Event()
        self._behave = behave
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client hung up, as it should in most of these tests
            secured = connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True)
            with secured:
                self._behave(Peer(secured, self.stop))
        connection.close()

    def close(self) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        for connection in self._connections:
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behave, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads are tried again without a pause."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)


def answering(*answers: bytes, log: list[bytes] | None = None) -> Behaviour:
    """Gives the answers in turn, over all connections, the last one for ever."""
    left = list(answers)

    def behave(peer: Peer) -> None:
        while request := peer.request():
            if log is not None:
                log.append(request)
            peer.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def reset_after_request(peer: Peer) -> None:
    peer.request()
    peer.reset()


def silent(peer: Peer) -> None:
    peer.request()
    peer.stop.wait(30)


def dripping_body(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    peer.drip(b"x" * 500)


def dripping_chunks(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.drip(b"1\r\nx\r\n" * 100)


def dripping_head(peer: Peer) -> None:
    peer.request()
    peer.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 500)


def half_a_body(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def no_http(peer: Peer) -> None:
    peer.request()
    peer.send(b"SSH-2.0-nothing\r\n\r\n")


BROKEN: list[tuple[Behaviour, str]] = [
    (reset_after_request, "reset"),
    (silent, "timeout"),
    (dripping_body, "timeout"),
    (dripping_chunks, "timeout"),
    (dripping_head, "timeout"),
    (half_a_body, "reset"),
    (no_http, "reset"),
]


@pytest.mark.parametrize(("behave", "code"), BROKEN, ids=[b.__name__ for b, _ in BROKEN])
@pytest.mark.parametrize("write", [True, False])
def test_an_answer_that_never_comes_whole(
    serve: Callable[..., Server], behave: Behaviour, code: str, write: bool
) -> None:
    client = HttpClient(serve(behave).url, deadlines=QUICK)
    with pytest.raises(Ambiguous if write else Transient) as caught:
        client.request("POST" if write else "GET", f"/things?key={SECRET}", body=b"{}" if write else None)
    assert caught.value.code == code
    assert SECRET not in str(caught.value)
    assert client.exchanges == (1 if write else 3)
    client.close()


def test_what_never_left_is_transient_even_for_a_write() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "https://does-not-exist.invalid"):
        with pytest.raises(Transient) as caught:
            HttpClient(url).request("POST", f"/x?key={SECRET}", json={})
        assert caught.value.code == "connect"
        assert SECRET not in str(caught.value)


def test_a_connection_that_dies_between_two_requests_is_replaced(serve: Callable[..., Server]) -> None:
    gone = threading.Event()

    def once(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.connection.shutdown(socket.SHUT_RDWR)
        gone.set()

    client = HttpClient(serve(once).url)
    for _ in range(3):
        assert client.request("POST", "/x", json={}).ok
        assert gone.wait(10)  # a connection that dies while we send is another matter: then nobody knows
        gone.clear()


def test_tls_that_cannot_be_trusted(serve: Callable[..., Server], tmp_path: Path) -> None:
    client = HttpClient(serve(answering(OK), tls_context(tmp_path)).url)
    with pytest.raises(Misconfigured, match="TLS"):
        client.request("POST", "/x", json={})
    plain = serve(answering(OK)).url.replace("http:", "https:")
    with pytest.raises((Misconfigured, Transient)):
        HttpClient(plain, deadlines=QUICK).request("POST", "/x", json={})


def test_tls_that_breaks_after_the_request_is_in_doubt(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    context = tls_context(tmp_path)
    for behave, code in ((reset_after_request, "reset"), (dripping_body, "timeout"), (silent, "timeout")):
        client = HttpClient(serve(behave, context).url, deadlines=QUICK)
        with pytest.raises(Ambiguous) as caught:
            client.request("POST", "/x", json={})
        assert caught.value.code == code
        client.close()
    assert HttpClient(serve(answering(OK), context).url).request("POST", "/x", json={}).ok


def tls_context(folder: Path) -> ssl.SSLContext:
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def status(code: int, body: bytes = b"{}", *headers: bytes) -> bytes:
    head = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (code, head, len(body), body)


def minting(*accesses: str) -> tuple[Bearer, list[str]]:
    minted: list[str] = []

    def mint(held: Token | None) -> Token:
        minted.append(accesses[min(len(minted), len(accesses) - 1)])
        return Token(access=minted[-1])

    return Bearer(MemoryTokens(), "grant", mint), minted


def test_a_refused_token_is_refreshed_once_and_the_request_replayed_as_it_was(serve: Callable[..., Server]) -> None:
    log: list[bytes] = []
    server = serve(answering(status(401), OK, log=log))
    bearer, minted = minting("old", "new")
    client = HttpClient(server.url, bearer=bearer, headers={"X-All": "1"})
    assert client.request("PATCH", "/x", json={"a": 1}, headers={"X-One": "2"}, params={"q": "a b"}).ok
    first, second = log
    assert b"Bearer old" in first
    assert second == first.replace(b"Bearer old", b"Bearer new")
    assert b"X-One: 2" in second
    assert minted == ["old", "new"]


def test_a_second_refusal_ends_it(serve: Callable[..., Server]) -> None:
    log: list[bytes] = []
    bearer, minted = minting(SECRET)
    client = HttpClient(serve(answering(status(401), log=log)).url, bearer=bearer)
    with pytest.raises(AuthExpired) as caught:
        client.request("GET", f"/x?key={SECRET}")
    assert SECRET not in str(caught.value)
    assert len(log) == 2
    assert len(minted) == 2


def test_many_threads_refresh_once(serve: Callable[..., Server]) -> None:
    def behave(peer: Peer) -> None:
        while request := peer.request():
            peer.send(OK if b"Bearer new" in request else status(401))

    bearer, minted = minting("old", "new", "newer")
    client = HttpClient(serve(behave).url, bearer=bearer)
    client._token("")  # everybody begins with the token that is about to be refused
    together = threading.Barrier(8)
    results: list[bool] = []

    def work() -> None:
        together.wait()
        results.append(client.request("POST", "/x", json={}).ok)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert minted == ["old", "new"]


def test_redirects_are_handed_back_and_nothing_follows_them(serve: Callable[..., Server]) -> None:
    log: list[bytes] = []
    elsewhere = serve(answering(OK, log=log))
    location = f"Location: {elsewhere.url}/x".encode()
    bearer, _ = minting(SECRET)
    client = HttpClient(serve(answering(status(302, b"", location))).url, bearer=bearer)
    assert client.request("GET", "/x").status == 302
    assert log == []
    with pytest.raises(Misconfigured, match="another host"):
        client.request("GET", f"{elsewhere.url}/x")
    assert log == []


def test_netrc_and_cookies_stay_out(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    log: list[bytes] = []
    bearer, _ = minting("good")
    client = HttpClient(serve(answering(status(200, b"{}", b"Set-Cookie: a=b"), log=log)).url, bearer=bearer)
    client.request("GET", "/x")
    client.request("GET", "/x")
    assert all(b"Authorization: Bearer good" in request for request in log)
    assert b"ookie" not in log[1]


@pytest.mark.parametrize("write", [True, False])
def test_a_body_that_is_no_json_is_not_shown(serve: Callable[..., Server], write: bool) -> None:
    body = b'{"access_token": "' + SECRET.encode()
    client = HttpClient(serve(answering(status(200, body))).url)
    response = client.request("POST", "/token", form={"client_secret": SECRET}, write=write)
    with pytest.raises(Failure) as caught:
        response.json()
    assert type(caught.value) is (Ambiguous if write else Transient)
    assert SECRET not in str(caught.value) + repr(response)


def test_an_html_page_tells_its_title(serve: Callable[..., Server]) -> None:
    client = HttpClient(serve(answering(status(503, b"<html><TITLE> Down for maintenance </title></html>"))).url)
    with pytest.raises(Transient, match="Down for maintenance"):
        client.request("GET", "/x").json()


def test_an_answer_without_end_is_cut(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1000)
    client = HttpClient(serve(answering(status(200, b"x" * 2000))).url)
    with pytest.raises(Ambiguous, match="AnswerTooLarge"):
        client.request("POST", "/x", json={})


def test_a_secret_in_the_base_url_is_not_shown(serve: Callable[..., Server]) -> None:
    client = HttpClient(f"{serve(reset_after_request).url}/rest/1/{SECRET}")
    with pytest.raises(Ambiguous, match=r"POST /crm\.item at 127\.0\.0\.1") as caught:
        client.request("POST", "/crm.item", json={})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["http://crm.example.com", "ftp://x", "nonsense", "https://"])
def test_base_urls(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        check_base_url(url)
    assert check_base_url("https://crm.example.com/") == "https://crm.example.com"
    assert check_base_url("http://127.0.0.1:1/") == "http://127.0.0.1:1"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_token_is_asked_for_once(serve: Callable[..., Server], method: str) -> None:
    asked: list[Token | None] = []

    def mint(held: Token | None) -> Token:
        asked.append(held)
        raise Transient("the login host is down", code="login")

    client = HttpClient(serve(answering(OK)).url, bearer=Bearer(MemoryTokens(), "g", mint))
    with pytest.raises(Transient, match="login host"):
        client.request(method, "/x")
    assert len(asked) == 1
    assert client.exchanges == 0
