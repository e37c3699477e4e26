"""Which folder is that of sent mail, as servers and mail programs name it."""

from __future__ import annotations

import pytest

from syncd.connectors.mail.imap_sent import NAMES, ListedFolder, listed_folder, sent_folder


def names(*found: str, separator: str = "/") -> list[ListedFolder]:
    return [ListedFolder(name, separator=separator) for name in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_known_name_is_found_below_the_top_and_below_inbox(name: str) -> None:
    assert sent_folder(names("INBOX", name)) == name
    assert sent_folder(names("INBOX", f"INBOX.{name}", separator=".")) == f"INBOX.{name}"
    assert sent_folder(names("INBOX", name.upper())) == name.upper()


def test_what_the_server_says_counts_before_any_name() -> None:
    lines = [((), b"/", "Sent"), ((b"\\HasNoChildren", b"\\Sent"), b"/", "[Gmail]/Gesendet")]
    assert sent_folder([listed_folder(*line) for line in lines]) == "[Gmail]/Gesendet"
    gone = [((b"\\Sent", b"\\NonExistent"), b"/", "Old"), ((b"\\Noselect",), b"/", "Sent"), ((), None, "Sent Items")]
    assert sent_folder([listed_folder(*line) for line in gone]) == "Sent Items"


def test_the_nearest_to_the_top_wins_and_a_stranger_is_nothing() -> None:
    assert sent_folder(names("Archive/2019/Sent", "Sent Items")) == "Sent Items"
    assert sent_folder(names("Archive/Sent", "INBOX/Sent Items")) == "INBOX/Sent Items"
    assert sent_folder(names("INBOX", "Absent", "Sent to Ann", "Drafts")) == ""
    assert sent_folder([]) == ""
