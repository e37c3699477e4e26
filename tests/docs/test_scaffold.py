"""`syncd connectors new` makes packages that pass as they stand: their tests, ruff, mypy --strict, and syncd itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd import scaffold
from syncd.cli import run
from syncd.errors import UsageError

KINDS = [
    ("polling",),
    ("webhook",),
    ("hint",),
    ("polling", "webhook"),
    ("polling", "hint"),
    ("destination",),
]


def inside(folder: Path, *words: str) -> str:
    """Runs a tool in the package, and returns what it said. It must succeed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
def test_what_is_made_is_green(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    folder = tmp_path / "made"
    scaffold.write(scaffold.plan("acme_feedback", kinds), folder)
    said = inside(folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert " passed" in said
    assert "skipped" not in said
    inside(folder, "ruff", "check", "--no-cache", ".")
    inside(folder, "ruff", "format", "--no-cache", "--check", ".")
    inside(folder, "mypy", "--cache-dir", str(tmp_path / "cache"), "syncd_acme_feedback", "tests")


def test_the_command_makes_it_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["connectors", "new", "acme", "--kind", "polling", "--kind", "hint"]) == 0
    assert (tmp_path / "syncd-acme" / "syncd_acme" / "__init__.py").is_file()
    assert "pytest" in capsys.readouterr().err
    assert run(["connectors", "new", "acme", "--kind", "polling"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_it_is_found_once_it_is_installed(tmp_path: Path) -> None:
    """An installation in short: the package and its entry point on the path."""
    folder = tmp_path / "made"
    scaffold.write(scaffold.plan("acme", ["webhook", "polling"]), folder)
    info = folder / "syncd_acme-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: syncd-acme\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[syncd.connectors]\nsource.acme = syncd_acme:CONNECTOR\n[syncd.twins]\nacme = syncd_acme.twin:AcmeTwin\n"
    )
    code = (
        "import sys; from syncd.twins import create, names; assert 'acme' in names(); print(create('acme').name); "
        "from syncd.cli import run; sys.exit(run(['--json', 'connectors', 'acme']))"
    )
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "custom.acme" in done.stdout


@pytest.mark.parametrize(
    ("name", "kinds", "says"),
    [
        ("Acme", ["webhook"], "not a name for a connector"),
        ("../acme", ["webhook"], "not a name for a connector"),
        ("acme", [], "say what it can do"),
        ("acme", ["push"], "there are polling"),
        ("acme", ["webhook", "destination"], "a source or a destination"),
        ("acme", ["webhook", "hint"], "take one of the two"),
    ],
)
def test_what_cannot_be_made_is_told(name: str, kinds: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scaffold.plan(name, kinds)
