"""Which files make a configuration, and when a change of them counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.config.models import DestinationSettings, Settings
from syncd.service.reload import Watch, watched


def write(path: Path, text: str) -> None:
    """As editors do it: beside, and renamed over the old one."""
    beside = path.with_suffix(".new")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def test_a_change_counts_when_it_has_come_to_rest(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    write(file, "a")
    watch = Watch([file])
    assert [watch.look(), watch.look()] == [False, False]
    write(file, "b")
    assert not watch.look()  # somebody may still be writing
    write(file, "cc")
    assert not watch.look()
    assert watch.look()
    watch.mark()
    assert [watch.look(), watch.look()] == [False, False]


def test_a_file_that_appears_or_goes_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "mapping.yaml"
    watch = Watch([file])
    watch.mark()
    write(file, "a")
    assert [watch.look(), watch.look()] == [False, True]
    watch.mark()
    file.unlink()
    assert [watch.look(), watch.look()] == [False, True]


def test_the_same_size_and_time_in_another_file_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    write(file, "a")
    watch = Watch([file])
    watch.mark()
    stamp = file.stat()
    write(file, "b")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert [watch.look(), watch.look()] == [False, True]


def test_what_changed_while_it_was_read_is_seen_afterwards(tmp_path: Path) -> None:
    file, other = tmp_path / "config.yaml", tmp_path / "mapping.yaml"
    write(file, "a")
    watch = Watch([file])
    watch.mark()
    write(file, "b")
    watch.follow([file, other])
    assert [watch.look(), watch.look()] == [False, True]


def test_the_files_of_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/syncd.service")
    config = tmp_path / "config.yaml"
    config.write_text("a: ${file:key}\nb: ${credential:imap}\nc: $${file:not}\nd: ${HOME}\n", "utf-8")
    settings = Settings(
        destinations={
            "one": DestinationSettings(name="one", type="database", mapping="own.yaml"),
            "two": DestinationSettings(name="two", type="salesforce"),
        }
    )
    assert watched(config, settings) == {
        config,
        tmp_path / "key",
        Path("/run/credentials/syncd.service/imap"),
        tmp_path / "own.yaml",
        tmp_path / "mappings" / "salesforce.yaml",
    }
    assert watched(tmp_path / "absent.yaml", settings) == {tmp_path / "absent.yaml"}
