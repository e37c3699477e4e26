"""An `imap` source by XOAUTH2, from the browser to the record: `syncd auth`, tokens that expire, a refresh token that rotates and
is revoked. A real daemon, a real Dovecot, and an OAuth server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.browser import free_port, signing_in
from tests.chaos.processes import until
from tests.dovecot_server import Dovecot
from tests.mail_rig import Host
from tests.token_endpoint import TokenEndpoint

LIFE = 3
EARLY = 60
"""A token is renewed a minute before its end: this is what the answer must say for it to be used for `LIFE` seconds."""


@pytest.fixture
def oauth(server: Dovecot, host: Host) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(server.token_key, host.user, life=LIFE, told=LIFE + EARLY, rotates=True) as endpoint:
        addresses = {"authorize_url": endpoint.authorize_url, "token_url": endpoint.url, "scopes": ["mail"]}
        host.configure(auth={"client_id": "app", "client_secret": "s3cret", **addresses})
        yield endpoint


def sign_in(host: Host) -> None:
    with signing_in(host.folder, "inbox", "--port", str(free_port()), "--json") as auth:
        browser = auth.browser()
        assert "You can close this page" in browser.follow(browser.url)
        code, out, err = auth.end()
    assert code == 0, err
    assert json.loads(out)["signed_in"] is True


def leaks(host: Host, oauth: TokenEndpoint) -> list[tuple[str, str]]:
    """Secrets that stand in a file of syncd's."""
    secrets = [*oauth.minted, "s3cret", *(form["refresh_token"] for form in oauth.asked if "refresh_token" in form)]
    files = [file for file in host.folder.iterdir() if file.is_file() and file.name != "config.yaml"]
    return [(file.name, secret) for file in files for secret in secrets if secret.encode() in file.read_bytes()]


def test_signed_in_renewed_rotated_and_revoked(host: Host, oauth: TokenEndpoint) -> None:
    daemon = host.start()
    until(lambda: "not signed in yet; run: syncd auth inbox" in daemon.text, "it asks for a sign-in")
    assert oauth.asked == []

    sign_in(host)
    (consent,) = oauth.consents
    assert (consent["login_hint"], consent["scope"]) == (host.user, "mail")
    until(lambda: "waiting for new items" in daemon.text, "it waits for news")
    host.mail_arrives()

    def used() -> list[str]:
        return [form["refresh_token"] for form in oauth.asked if form["grant_type"] == "refresh_token"]

    until(lambda: len(used()) >= 3, "its token ran out three times")
    assert len(set(used())) == len(used())  # each refresh token once: the newest there was
    assert used()[0] == "refresh-1"
    host.mail_arrives()

    daemon.kill()  # the rotated one is durable
    daemon = host.start()
    until(lambda: "waiting for new items" in daemon.text, "it waits for news again")
    host.mail_arrives()
    assert len(set(used())) == len(used())

    oauth.revoke()
    until(lambda: "poll failed" in daemon.text, "the poll has failed")
    failed = next(line for line in daemon.text.splitlines() if "poll failed" in line)
    assert "the refresh token is revoked" in failed
    assert "run: syncd auth inbox" in failed
    assert "Traceback" not in daemon.text
    advice = [line for line in host.command("status")[1].splitlines() if "syncd auth inbox" in line]
    assert any("source inbox" in line for line in advice)
    assert not any("systemctl reload" in line for line in advice)

    asked = len(oauth.asked)
    for _ in range(2):  # a restart asks in vain no more than anything else
        daemon.kill()
        daemon = host.start()
        until(lambda: "poll failed" in daemon.text, "it has polled")  # noqa: B023
    assert len(oauth.asked) == asked

    sign_in(host)
    host.mail_arrives()
    assert leaks(host, oauth) == []
