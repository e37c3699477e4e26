"""Where the configuration file is. Commands and shell completion ask; it imports next to nothing, so that TAB is answered
quickly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syncd.errors import UsageError

LOOKED_FOR = ("config.yaml", "/etc/syncd/config.yaml")
HOW_TO_BEGIN = "give --config FILE, or begin with `syncd init`"


def find_config(given: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The configuration file: --config, else $SYNCD_CONFIG, ./config.yaml, /etc/syncd/config.yaml. UsageError if none."""
    named = given or env.get("SYNCD_CONFIG")
    if named:
        path = cwd / named
        if path.is_file():
            return path
        if path.is_dir():
            raise UsageError(f"{named} is a directory; name the file in it, such as {Path(named) / 'config.yaml'}")
        raise UsageError(f"no configuration file at {named}; {HOW_TO_BEGIN}")
    for name in LOOKED_FOR:
        if (cwd / name).is_file():
            return cwd / name
    raise UsageError(f"no configuration found (looked for {', '.join(LOOKED_FOR)}); {HOW_TO_BEGIN}")
