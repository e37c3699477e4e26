"""Writes a connector package that works: `syncd connectors new` calls it, docs/writing-a-connector.md continues from there.

What it makes is a real example against an invented vendor, with the conformance kit as its test; it passes as it stands. Nothing
that exists is written over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.errors import SyncdError, UsageError

KINDS = ("polling", "webhook", "hint", "destination")
"""polling: read on schedule, and the past too. webhook: the event is in the body. hint: the body only names it."""
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class Plan:
    """A connector to be made, checked."""

    name: str
    kinds: tuple[str, ...]

    @property
    def role(self) -> str:
        return "destination" if "destination" in self.kinds else "source"

    @property
    def files(self) -> dict[str, str]:
        """Path in the package -> template."""
        role = self.role
        fetches = role == "source" and not {"polling", "hint"}.isdisjoint(self.kinds)
        return {
            **({f"syncd_{self.name}/twin.py": "twin.py"} if fetches else {}),
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            f"syncd_{self.name}/__init__.py": f"{role}.py",
            f"syncd_{self.name}/py.typed": "",
            f"tests/fake_{self.name}.py": f"fake_{role}.py",
            f"tests/test_{self.name}.py": f"test_{role}.py",
        }

    @property
    def values(self) -> dict[str, Any]:
        """What the templates are filled with."""
        polling, webhook, hint = (kind in self.kinds for kind in KINDS[:3])
        posts, fetching = webhook or hint, polling or hint
        words = self.name.split("_")
        klass = "".join(word.capitalize() for word in words)
        suites = {
            "WebhookConformance": posts,
            "HintConformance": hint,
            "PollingConformance": polling,
            "BackfillConformance": polling,
        }
        routes = [route for route, on in (("webhook", posts), ("poll and backfill", polling)) if on]
        thing = "records" if self.role == "destination" else "events"
        return {
            "name": self.name,
            "slug": self.name.replace("_", "-"),
            "klass": klass,
            "vendor": " ".join(word.capitalize() for word in words),
            "role": self.role,
            "summary": f"{thing} of {' '.join(word.capitalize() for word in words)}",
            "polling": polling,
            "webhook": webhook,
            "hint": hint,
            "fetching": fetching,
            "routes": ", ".join(routes),
            "typing_names": ", ".join(name for name, on in (("Any", fetching), ("TypeVar", posts)) if on),
            "suites": [suite for suite, on in suites.items() if on],
            "fake_names": ", ".join(
                [name for name, on in (("SECRET", posts), ("TOKEN", self.role == "destination")) if on]
                + [f"Fake{klass}"]
            ),
        }


def plan(name: str, kinds: Sequence[str]) -> Plan:
    """Checks what was asked for. Raises UsageError with what to write instead."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a connector: small letters, digits and _ between them, such as acme_desk"
        )
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong:
        raise UsageError(f"--kind {wrong[0]}: there are {', '.join(KINDS)}")
    if not kinds:
        raise UsageError(f"say what it can do: --kind {', --kind '.join(KINDS)}; several for one source")
    if "destination" in kinds and len(set(kinds)) > 1:
        raise UsageError("a connector is a source or a destination; make two for a vendor that is both")
    if {"webhook", "hint"} <= set(kinds):
        raise UsageError("--kind webhook has the event in its body, --kind hint only its id: take one of the two")
    return Plan(name, tuple(kind for kind in KINDS if kind in kinds))


def write(wanted: Plan, folder: Path) -> list[Path]:
    """Writes the package into a folder that is not there or empty; returns its files. Raises UsageError, SyncdError."""
    import jinja2

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; give another with --into FOLDER")
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("syncd.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, filled with a checked name
    )
    made = []
    for place, template in wanted.files.items():
        path = folder / place
        text = templates.get_template(f"{template}.jinja").render(wanted.values) if template else ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SyncdError(f"{path}: cannot be made: {error.strerror}") from None
        made.append(path)
    return made
