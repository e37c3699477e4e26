"""A password that the mail host refuses, tried by a daemon in every way it knows: polls, waiting, reloads, restarts, commands.

Real processes and a real Dovecot; what counts is how many logins the host has seen fail.
"""

from __future__ import annotations

import signal

from tests.chaos.processes import pause, until
from tests.dovecot_server import PASSWORD
from tests.mail_rig import Host


def test_a_refused_password_is_spared_over_restarts(host: Host) -> None:
    host.configure(password="wrong-canary")
    for _ in range(4):
        daemon = host.start()
        until(lambda: "poll failed" in daemon.text, "it has polled")  # noqa: B023
        pause(1.5)  # a poll and a look of the waiting more
        daemon.kill()
    assert host.failed_logins == 1
    said = next(line for line in daemon.text.splitlines() if "poll failed" in line)
    assert "not tried again before" in said
    assert "lest the account is locked" in said
    status = host.command("status")[1]
    assert "not tried again before" in status
    for file in host.folder.iterdir():
        if file.is_file() and file.name != "config.yaml":
            assert b"wrong-canary" not in file.read_bytes(), file

    host.configure(password=PASSWORD)
    daemon = host.start()
    until(lambda: "waiting for new items" in daemon.text, "it waits for news")
    host.mail_arrives()
    assert host.failed_logins == 1


def test_reloads_restarts_and_commands_together_stay_below_a_lock_out(host: Host) -> None:
    host.configure(password=PASSWORD)
    daemon = host.start()
    until(lambda: "waiting for new items" in daemon.text, "it waits for news")
    host.mail_arrives()

    host.configure(password="wrong-canary")  # while it polls and waits
    until(lambda: "poll failed" in daemon.text, "the poll has failed")
    for turn in range(4):
        daemon.send(signal.SIGHUP)
        until(lambda: daemon.text.count("configuration in force") > turn, "it has reloaded")  # noqa: B023
        pause(0.5)
    daemon.kill()
    for _ in range(3):
        daemon = host.start()
        until(lambda: "poll failed" in daemon.text, "it has polled")  # noqa: B023
        daemon.send(signal.SIGHUP)
        pause(1.0)
        daemon.kill()
    for _ in range(2):
        code, said = host.command("check", "--online", "inbox")
        assert code == 1
        assert "refused 3 times within an hour and not tried again before" in said
    assert host.failed_logins == 3

    daemon = host.start()
    host.configure(password=PASSWORD)  # saved: taken over, and tried at once
    until(lambda: "waiting for new items" in daemon.text, "it waits for news")
    host.mail_arrives()
    assert host.failed_logins == 3


def test_a_typed_check_tries_once_and_what_works_again_is_no_longer_spared(host: Host) -> None:
    host.configure(password="wrong-canary")
    daemon = host.start()
    until(lambda: "poll failed" in daemon.text, "it has polled")
    assert host.failed_logins == 1
    code, said = host.command("check", "--online", "inbox")
    assert code == 1
    assert "Authentication failed" in said
    assert host.failed_logins == 2
