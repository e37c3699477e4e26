"""What an installed user has: the wheel carries what commands read beside the code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BESIDE_THE_CODE = ("*.yaml", "*.jinja", "py.typed")


def test_the_wheel_carries_what_lies_beside_the_code(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        carried = set(packed.namelist())
        assert packed.read("syncd/config.example.yaml") == (ROOT / "config.example.yaml").read_bytes()
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("syncd",)
        for pattern in BESIDE_THE_CODE
        for path in (ROOT / package).rglob(pattern)
    }
    assert wanted <= carried
