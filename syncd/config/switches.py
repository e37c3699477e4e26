"""The switches: listed for people, and edited in the YAML file with its comments kept. Called by `syncd channels`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from syncd import registry
from syncd.config.loading import parse_settings, read_text
from syncd.config.models import Settings
from syncd.errors import UsageError
from syncd.signal_types import catalogue, known_types, place_of, title_of


def switch_rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """One row a switch: channel, switch, signal type and what it is, and yes, no or from whom."""
    for channel, switches in catalogue().items():
        for switch, kind in switches.items():
            wanted = _words(settings.switch(kind))
            yield {"channel": channel, "switch": switch, "type": kind, "title": title_of(kind), "wanted": wanted}
    for switch, choice in settings.channels.get("custom", {}).items():
        kind = f"custom.{switch}"
        yield {"channel": "custom", "switch": switch, "type": kind, "title": "", "wanted": _words(choice)}


def _words(wanted: bool | tuple[str, ...]) -> str:
    return ("on" if wanted else "off") if isinstance(wanted, bool) else "from " + ", ".join(wanted)


def matching_switches(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """(channel, switch) of every signal type, channel.switch or channel that a pattern names. UsageError if none does."""
    found: list[tuple[str, str]] = []
    for pattern in patterns:
        hits = _hits(pattern)
        if not hits and (pattern.startswith("custom.") or pattern == "custom"):
            hits = [("custom", pattern.partition(".")[2] or "*")]
        if not hits:
            registry.load_every_source()  # it may be of a connector that is installed and not configured yet
            hits = _hits(pattern)
        if not hits:
            raise UsageError(f"no signal type matches {pattern!r}; `syncd channels` lists them")
        found += [hit for hit in hits if hit not in found]
    return found


def _hits(pattern: str) -> list[tuple[str, str]]:
    return [place_of(kind) for kind in known_types() if _names(pattern, kind)]


def _names(pattern: str, kind: str) -> bool:
    channel, switch = place_of(kind)
    return any(fnmatchcase(name, pattern) for name in (kind, channel, f"{channel}.{switch}"))


def edit_switches(path: Path, patterns: Sequence[str], *, on: bool, dry_run: bool = False) -> list[str]:
    """Turns switches in the file and returns what changed, or would as a `dry_run`. The result is validated before it
    replaces the file, which happens at once (rename). A switch that says from whom and is enabled already stays as it is."""
    from ruamel.yaml import YAML

    text = read_text(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(text)
    if not isinstance(document, dict):
        raise UsageError(f"{path}: is empty; begin with `syncd init` or `syncd config example`")
    tree = document.setdefault("channels", {})
    changed: list[str] = []
    for channel, switch in matching_switches(patterns):
        switches = tree.setdefault(channel, {})
        if bool(switches.get(switch, False)) != on:
            switches[switch] = on
            changed.append(f"{channel}.{switch}")
    if changed:
        out = io.StringIO()
        yaml.dump(document, out)
        parse_settings(out.getvalue(), path, os.environ, need_secrets=False)
    if changed and not dry_run:
        _replace(path, out.getvalue())
    return changed


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(target.stat().st_mode & 0o7777)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
