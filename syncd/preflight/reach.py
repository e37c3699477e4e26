"""Can the outside reach our webhooks? Asked by calling our own public address, as a vendor would.

`check --online` asks for each webhook source. From inside a network the answer may be no although it is yes from outside: it is
a warning at most.
"""

from __future__ import annotations

from collections.abc import Iterator

from syncd.capabilities import Finding, Level
from syncd.errors import Failure
from syncd.http.client import Deadlines, HttpClient, check_base_url

HEALTHY = b"ok\n"
"""What /healthz of a syncd says."""
_DEADLINES = Deadlines(connect=5.0, read=5.0, total=10.0)


def reach(public_url: str, source: str) -> Iterator[Finding]:
    """What answers at `public_url`, and whether it knows the source."""
    what = "reachable"
    if not public_url:
        text = "server.public_url is not set: no vendor has an address to call"
        yield Finding(Level.WARNING, what, text, "set server.public_url to the address that vendors call")
        return
    try:
        client = HttpClient(check_base_url(public_url), deadlines=_DEADLINES)
    except ValueError as error:
        yield Finding(Level.WARNING, what, f"server.public_url: {error}", "vendors call https addresses only")
        return
    try:
        yield _asked(client, public_url, source, what)
    finally:
        client.close()


def _asked(client: HttpClient, url: str, source: str, what: str) -> Finding:
    try:
        health = client.request("GET", "/healthz")
    except Failure as failed:
        text = f"{url} is not reachable from here: {failed}"
        return Finding(Level.WARNING, what, text, "is `syncd run` running, and does the proxy lead to server.listen?")
    if not health.ok or health.body != HEALTHY:
        text = f"{url} reaches something other than syncd (HTTP {health.status})"
        return Finding(Level.WARNING, what, text, "let the proxy pass /webhooks/ and /healthz to server.listen")
    try:
        answer = client.request("GET", f"/webhooks/{source}")
    except Failure as failed:
        return Finding(Level.WARNING, what, f"{url} reaches syncd, but /webhooks/{source} does not answer: {failed}")
    if answer.status == 404:
        text = f"{url} reaches a syncd that has no source {source}"
        return Finding(Level.WARNING, what, text, "is it another instance, or not reloaded yet?")
    return Finding(Level.OK, what, f"{url}/webhooks/{source} reaches this syncd")
