"""Whatever is typed wrong: exit code 2 (or 1 where something outside failed), one line on stderr, nothing on stdout."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.user_folder import CANARY, UserFolder

WRONG_USAGE = {
    "bogus": "no such command 'bogus'; see `syncd --help`",
    "--bogus status": "no such option: --bogus",
    "run --bogus": "see `syncd run --help`",
    "run --log-level loud": "write debug, info, warning or error",
    "demo --crm bogus": "'bogus' is not one of 'salesforce', 'zoho'",
    "twin": "missing argument 'NAME'; see `syncd twin --help`",
    "twin nope": "there is no twin called 'nope'; there are: bitrix24, google, graph, salesforce, twilio, zoho, "
    "zoho_desk, zoho_mail",
    "twin salesforce --port 99999": "less than or equal to 65535",
    "twin salesforce --port many": "--port",
    "twin salesforce --faults signal.yaml": "signal.yaml: must be a list of faults",
    "check --config config.yaml": "write it before: syncd --config FILE COMMAND",
    "--config nope.yaml check": "no configuration file at nope.yaml; give --config FILE",
    "--config Maildir check": "Maildir is a directory; name the file in it, such as Maildir/config.yaml",
    "--config latin.yaml check": "is not UTF-8 text (byte 3)",
    "--config list.yaml status": "the configuration must be keys and values",
    "--config broken.yaml status": "broken.yaml:2:",
    "--config odd.yaml status": "'mysql' is not supported",
    "config": "",
    "config bogus": "no such command 'bogus'; see `syncd config --help`",
    "connectors imapp": "no connector 'imapp'; did you mean imap?",
    "connectors nonsense": "`syncd connectors` lists them",
    "channels enable": "syncd channels enable PATTERN...",
    "channels switch email": "syncd channels enable PATTERN...",
    "channels enable nonsense": "no signal type matches 'nonsense'",
    "backfill inbox": "missing option '--since'",
    "backfill nobody --since 7d": "no source 'nobody'; there are: inbox, forms",
    "backfill forms --since 7d": "source forms (webhook) cannot fetch the past",
    "backfill inbox --since tomorrow": "--since: 'tomorrow' is not a date",
    "backfill inbox --since 2026-02-30": "is not a date; write it like",
    "backfill inbox --since 2026-11-02 --until 2026-11-01": "--since must be before --until",
    "signals list --since 99999999999d": "is not a date",
    "signals list --since 0001-01-01": "is not a date",
    "signals list --state gone": "--state 'gone': there are: pending",
    "signals list --state deliverd": "--state 'deliverd': did you mean delivered?",
    "signals list --channel post": "--channel 'post': there are: email",
    "signals list --source nosuch": "no source 'nosuch'; there are: inbox, forms",
    "signals tail --source inbocks": "no source 'inbocks'; did you mean inbox?",
    "dead list --source form": "no source 'form'; did you mean forms?",
    "dead retry --all --source form": "no source 'form'; did you mean forms?",
    "replay --to archive --source form": "no source 'form'; did you mean forms?",
    "replay --to archiv": "no destination 'archiv'; did you mean archive?",
    "dead list --to archiv": "no destination 'archiv'; did you mean archive?",
    "quarantine list --source form": "no source 'form'; did you mean forms?",
    "quarantine retry --all --source form": "no source 'form'; did you mean forms?",
    "quarantine discard --all --source form": "no source 'form'; did you mean forms?",
    "verify inbx --since 2d": "no source 'inbx'; did you mean inbox?",
    "backfill inbx --since 2d": "no source 'inbx'; did you mean inbox?",
    "webhooks list form": "no source 'form'; did you mean forms?",
    "prepare archiv": "no destination 'archiv'; did you mean archive?",
    "mapping show salesforc": "did you mean salesforce?",
    "twin zohoo": "did you mean zoho?",
    "signals list --type email.eaten": "no such signal type",
    "signals list --limit 0": "greater than or equal to 1",
    "signals show zzz": "no signal zzz",
    "signals show ''": "the id is empty",
    "signals show %": "no signal %",
    "explain zzz": "no signal zzz; `syncd signals list` shows their ids",
    "preview": "give a signal: its ID, or --file F",
    "preview zzz --file signal.yaml": "give a signal",
    "preview --file nope.yaml": "nope.yaml: cannot be read: No such file or directory",
    "preview --file Maildir": "Maildir: cannot be read: Is a directory",
    "preview --file list.yaml": "list.yaml:1:1: must be keys and values",
    "preview --file signal.yaml --to nowhere": "no destination 'nowhere'; there are: archive",
    "replay": "missing option '--to'",
    "replay --to nowhere": "no destination 'nowhere'",
    "dead": "",
    "dead retry": "--all",
    "dead retry zzz": "no signal zzz",
    "dead list --state gone": "gone",
    "dead discard abc --all": "either IDs, or --all",
    "dead show zzz": "no signal zzz",
    "quarantine show zzz": "nothing in quarantine has the id zzz",
    "quarantine retry": "give IDs, or --all",
    "quarantine discard abc --all": "give either IDs, or --all",
    "mapping lint nope": "no mapping nope",
    "mapping lint Maildir": "no mapping Maildir",
    "mapping lint list.yaml": "list.yaml:1:1",
    "db sideways": "no such command 'sideways'",
}
OUTSIDE = {
    "--config nodir.yaml status": "does not exist; create it",
    "--config dirdb.yaml status": "the file cannot be opened",
    "--config junk.yaml db info": "this file is not a SQLite database",
    "--config server.yaml status": "no server answers there",
    "twin salesforce --faults nope.yaml": "nope.yaml: No such file or directory",
    "mapping test mappings/mine.yaml": "expected",
}


@pytest.fixture
def messy(folder: UserFolder) -> UserFolder:
    """Files that are something else than they seem."""
    (folder.path / "latin.yaml").write_bytes(b"a: \xff")
    (folder.path / "junk.db").write_bytes(b"not a database at all" * 100)
    (folder.path / "mappings").mkdir()
    for name, text in {
        "list.yaml": "- a\n",
        "broken.yaml": "a: [1,\n b: {",
        "odd.yaml": f"database: mysql://u:{CANARY}@127.0.0.1/x\n",
        "nodir.yaml": "database: sqlite:///./no/such/dir/x.db\n",
        "dirdb.yaml": "database: sqlite:///./Maildir\n",
        "junk.yaml": "database: sqlite:///./junk.db\n",
        "server.yaml": f"database: postgresql+psycopg://u:{CANARY}@127.0.0.1:1/x\nsecret_key: {'k' * 40}\n",
        "mappings/mine.yaml": "rules:\n- {id: a, name: A, signals: ['*'], upsert: T, key: k, fields: {x: 1}}\n",
        "mappings/mine.tests.yaml": "- {name: wrong, signal: {type: call.missed}, expect: {a: {fields: {x: 2}}}}\n",
    }.items():
        folder.write(name, text)
    return folder


@pytest.mark.parametrize("typed", WRONG_USAGE)
def test_wrong_usage(messy: UserFolder, typed: str) -> None:
    ran = messy.syncd(*shlex.split(typed))
    assert ran.code == 2, ran
    assert ran.out == ""
    assert WRONG_USAGE[typed] in ran.err
    assert "Traceback" not in ran.err
    assert CANARY not in ran.err
    if WRONG_USAGE[typed]:  # a group alone shows its commands
        assert len(ran.err.splitlines()) == 1, ran.err
        assert ran.err.startswith("syncd: ")


@pytest.mark.parametrize("typed", OUTSIDE)
def test_what_fails_outside(messy: UserFolder, typed: str) -> None:
    ran = messy.syncd(*shlex.split(typed))
    assert ran.code == 1, ran
    assert OUTSIDE[typed] in ran.err
    assert "Traceback" not in ran.err
    assert CANARY not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_directory_without_a_configuration(
    tmp_path_factory: pytest.TempPathFactory, folder: UserFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    ran = folder.syncd("status")
    assert (ran.code, ran.out) == (2, "")
    assert "looked for config.yaml, /etc/syncd/config.yaml" in ran.err


def test_an_unset_secret_stops_what_needs_it_alone(folder: UserFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORMS_SECRET")
    assert "environment variable FORMS_SECRET is not set" in folder.done("check").err
    folder.done("status")
    ran = folder.syncd("backfill", "inbox", "--since", "7d")
    assert ran.code == 2
    assert "sources.forms.verify.secret: environment variable FORMS_SECRET is not set" in ran.err


def test_a_locked_away_configuration(folder: UserFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    ran = folder.syncd("check")
    assert ran.code == 2
    assert "config.yaml: cannot be read: Permission denied" in ran.err
