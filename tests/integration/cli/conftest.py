"""A user's directory for every test of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.user_folder import UserFolder, lay_out


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> UserFolder:
    return lay_out(tmp_path, capsys, monkeypatch)


@pytest.fixture
def filled(folder: UserFolder) -> UserFolder:
    return folder.filled()
