"""Writes what the documentation says of keys, commands and signals from the models themselves: `make docs` runs it.

A page holds blocks between `<!-- generated: WHAT -->` and `<!-- end -->`; everything around them is written by hand. The
tests fail when a committed page differs from what would be generated.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from syncd import registry
from syncd.cli.abilities import capabilities_of, kinds_of_write
from syncd.config.models import DestinationSettings, Settings, SourceSettings
from syncd.config.schema import key_rows
from syncd.signals import CATALOGUE

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"(<!-- generated: (?P<what>[^>]+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
OURS = ("name", "connector")
"""Fields of an entry that no user writes: the entry's own key, and the connector's keys in one."""

UNWRITTEN = "(Say here what is to be done at the vendor, and its traps.)"
"""What a page that `make docs` began still holds: a test fails until somebody has written it."""


def pages() -> list[Path]:
    """Every page with a generated block."""
    return [path for path in sorted(DOCS.rglob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


def filled(text: str) -> str:
    """The page with its generated blocks made anew. Raises KeyError for a block that nobody makes."""

    def fill(match: re.Match[str]) -> str:
        what, *arguments = match["what"].split()
        return f"{match[1]}{BLOCKS[what](*arguments).rstrip()}\n{match[4]}"

    return BLOCK.sub(fill, text)


def parts_of(role: str, kind: str) -> list[tuple[str, str]]:
    """(heading, block) of the generated parts that the page of a connector has."""
    own = [("Signals", "signals")] if role == "source" else [("Kinds of write", "writes")]
    return [
        (heading, f"{what} {role}.{kind}")
        for heading, what in [*own, ("Keys", "keys"), ("What it can do", "abilities")]
    ]


def new_page(role: str, kind: str) -> str:
    """The beginning of the page of a connector that has none: the generated parts, and where to write the rest."""
    connector = _connector(f"{role}.{kind}")
    required = "".join(f"    {row['key']}: …\n" for row in key_rows(connector.settings) if _plainly_required(row))
    example = f"```yaml\n{role}s:\n  my-{kind.replace('_', '-')}:\n    type: {kind}\n{required}```\n"
    blocks = "".join(
        f"\n## {heading}\n\n<!-- generated: {what} -->\n<!-- end -->\n" for heading, what in parts_of(role, kind)
    )
    return filled(f"# {kind}: {connector.summary}\n\n{example}\n## Setting it up\n\n{UNWRITTEN}\n{blocks}")


def _plainly_required(row: dict[str, Any]) -> bool:
    return bool(row["required"]) and "." not in row["key"]


def connectors() -> list[tuple[registry.Role, str]]:
    """(role, type) of every connector that comes with syncd."""
    return [(role, name) for role in registry.ROLES for name in registry.names(role)]


# ------------------------------------------------------------------------------------------------------------ blocks


def config_keys(section: str) -> str:
    """Keys of the whole file, of every source or of every destination."""
    if section == "source":
        return _keys(row for row in key_rows(SourceSettings) if row["key"] not in OURS)
    if section == "destination":
        return _keys(row for row in key_rows(DestinationSettings) if row["key"] not in OURS)
    return _keys(row for row in key_rows(Settings) if not row["key"].startswith(("sources.", "destinations.")))


def connector_keys(which: str) -> str:
    """Keys of one connector (`source.imap`)."""
    return _keys(key_rows(_connector(which).settings))


def connector_signals(which: str) -> str:
    """What a source makes, what the ids are made of, what a backfill can fetch."""
    rows = [(f"`{spec.type}`", spec.key, "yes" if spec.backfill else "no") for spec in _connector(which).signals]
    return _table(("signal", "its id is made of, by route", "backfill"), rows)


def connector_writes(which: str) -> str:
    """Kinds of write of the mapping that comes with syncd."""
    rows = [
        (f"`{row['object']}`", f"`{row['kind']}`" + ("" if row["enforced"] else ", key not enforced"))
        for row in kinds_of_write(_connector(which))
    ]
    return _table(("object", "kind of write"), rows)


def connector_abilities(which: str) -> str:
    """What else it can do."""
    rows = [
        (row["ability"], row["what_for"], "yes" if row["there"] else "no") for row in capabilities_of(_connector(which))
    ]
    return _table(("ability", "what it is for", "there"), rows)


def connector_list() -> str:
    """All connectors, each with its page."""
    rows = [
        (f"[`{name}`]({page_of(role, name).name})", role, registry.load(role, name).summary)
        for role, name in connectors()
    ]
    return _table(("type", "role", "what it is"), rows)


def channel_list() -> str:
    """Every switch with its signal type."""
    rows = [
        (f"`{channel}`", f"`{switch}`", f"`{kind}`")
        for channel, kinds in CATALOGUE.items()
        for switch, kind in kinds.items()
    ]
    return _table(
        ("channel", "switch", "signal type"), [*rows, ("`custom`", 'NAME, or `"*"` for all', "`custom.NAME`")]
    )


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(path, command) for path, command in command_tree())


BLOCKS: dict[str, Callable[..., str]] = {
    "config": config_keys,
    "keys": connector_keys,
    "signals": connector_signals,
    "writes": connector_writes,
    "abilities": connector_abilities,
    "connectors": connector_list,
    "channels": channel_list,
    "commands": commands,
}


# ---------------------------------------------------------------------------------------------------------- commands


def command_tree() -> list[tuple[str, Any]]:
    """(`syncd signals list`, its click command) of every command that does something, and `syncd` itself."""
    from typer.main import get_command

    from syncd.cli.app import app

    return list(_walk("syncd", get_command(app)))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None or path == "syncd":
        yield path, command
    for name, one in (inner or {}).items():
        yield from _walk(f"{path} {name}", one)


def parameters(command: Any) -> list[tuple[str, str]]:
    """(how it is written, what it does) of every argument and option but --help."""
    rows = []
    for one in command.params:
        if one.param_type_name == "argument":
            rows.append((_argument(one), one.help or ""))
        elif "--help" not in one.opts:
            rows.append((", ".join(sorted(one.opts, key=len)) + _value(one), one.help or ""))
    return rows


def _argument(one: Any) -> str:
    name = (one.metavar or one.name.upper()).strip("[].")
    return (name if one.required else f"[{name}]") + ("..." if one.nargs == -1 else "")


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.default, enum.Enum):
        return " " + "|".join(str(choice.value) for choice in type(option.default))
    return f" {option.metavar or ('NUMBER' if isinstance(option.default, (int, float)) else 'TEXT')}"


def _command(path: str, command: Any) -> str:
    arguments = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    usage = " ".join([path, *arguments]) if path != "syncd" else "syncd [OPTIONS] COMMAND"
    text = f"## {path}\n\n    {usage}\n\n{_prose(command.help or '')}"
    rows = [(f"`{written}`", says) for written, says in parameters(command)]
    return f"{text}\n\n{_table(('', 'what it is'), rows)}" if rows else text


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


# ------------------------------------------------------------------------------------------------------------ tables


def _connector(which: str) -> Any:
    role, _, name = which.partition(".")
    return registry.load("source" if role == "source" else "destination", name)


def _keys(rows: Iterable[dict[str, Any]]) -> str:
    cells = [(f"`{row['key']}`", row["type"], _default(row), row["description"]) for row in rows]
    return _table(("key", "type", "default", "what it is"), cells)


def _default(row: dict[str, Any]) -> str:
    if row["required"]:
        return "(required)"
    value = row["default"]
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`[{', '.join(str(item) for item in value)}]`" if isinstance(value, list) else f"`{value}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    lines += [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def page_of(role: str, kind: str) -> Path:
    """The page of a connector. A destination of a type that sources have too is on a page of its own."""
    shared = role == "destination" and kind in registry.names("source")
    return DOCS / "connectors" / f"{kind}{'_out' if shared else ''}.md"


def main() -> int:
    """Brings every page up to date, and begins those of connectors that have none; says which changed."""
    for role, kind in connectors():
        page = page_of(role, kind)
        if not page.exists():
            page.write_text(new_page(role, kind), "utf-8")
            sys.stdout.write(
                f"{page.relative_to(DOCS.parent)}: new; write the part by hand, and its entry in config.example.yaml\n"
            )
    for path in pages():
        text = path.read_text("utf-8")
        new = filled(text)
        if new != text:
            path.write_text(new, "utf-8")
            sys.stdout.write(f"{path.relative_to(DOCS.parent)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
