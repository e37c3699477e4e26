"""`--help`: commands in groups, and examples below each. The tables here are the words; `app` puts them on the commands.

Plain text without frames, so that it can be piped and searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

PANELS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("demo", "init", "check", "auth", "prepare", "run"),
    "Look": ("status", "signals", "people", "explain", "verify", "export"),
    "Bring in": ("backfill", "import", "webhooks"),
    "Put right": ("act", "dead", "quarantine", "replay", "forget"),
    "Mappings": ("mapping", "preview", "twin"),
    "Set up": ("config", "connectors", "channels", "db", "completion"),
}
"""The groups of `syncd --help`; a command that is in none is listed at the end."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": ("syncd demo --once", "syncd init", "syncd check --online", "syncd signals list --since 7d --output csv"),
    "demo": ("syncd demo", "syncd demo --once --crm zoho"),
    "init": (
        "syncd init",
        "syncd init --source inbox=imap --destination crm=zoho --set inbox.host=imap.example.com --yes",
    ),
    "check": ("syncd check", "syncd check --online", "syncd check --online crm"),
    "auth": ("syncd auth crm",),
    "prepare": ("syncd prepare crm --dry-run", "syncd prepare crm"),
    "run": ("syncd run", "syncd --config /etc/syncd/config.yaml run --log-level warning"),
    "status": ("syncd status", "syncd --json status"),
    "signals list": (
        "syncd signals list --since 7d --type email.received",
        "syncd signals list --person 'nguyen van an'",
        "syncd signals list --state dead --output csv > dead.csv",
    ),
    "signals show": ("syncd signals show 1f0c",),
    "signals tail": ("syncd signals tail --channel calls",),
    "explain": ("syncd explain 1f0c",),
    "verify": ("syncd verify --since 2d", "syncd verify inbox --since 2026-11-01 --until 2026-11-08 --fix"),
    "people show": ("syncd people show an@example.org", "syncd people show handle:facebook:22334"),
    "people link": ("syncd people link an@example.org +84912345678",),
    "people unlink": ("syncd people unlink an@example.org +84912345678",),
    "export": ("syncd export an@example.org > an.jsonl",),
    "backfill": (
        "syncd backfill inbox --since 30d --dry-run",
        "syncd backfill inbox --since 2026-11-01 --until 2026-11-15",
    ),
    "import": (
        "syncd import people.xlsx --as contact --dry-run",
        "syncd import people.csv --as contact --map columns.yaml",
    ),
    "webhooks register": ("syncd webhooks register desk --dry-run", "syncd webhooks register desk"),
    "webhooks list": ("syncd webhooks list desk",),
    "webhooks remove": ("syncd webhooks remove desk --dry-run",),
    "act": ("syncd act 1f0c", "syncd act 1f0c follow-up --set ActivityDate=2026-12-01 --dry-run"),
    "dead list": ("syncd dead list", "syncd dead list --state unconfirmed --to crm"),
    "dead retry": ("syncd dead retry 1f0c", "syncd dead retry --all --to crm --dry-run"),
    "dead discard": ("syncd dead discard 1f0c", "syncd dead discard --all --since 30d --dry-run"),
    "quarantine list": ("syncd quarantine list --source shop",),
    "quarantine retry": ("syncd quarantine retry --all --source shop",),
    "quarantine discard": ("syncd quarantine discard --all --source shop --dry-run",),
    "replay": ("syncd replay --to crm --since 7d --dry-run", "syncd replay --to crm --type 'ticket.*'"),
    "forget": ("syncd forget an@example.org --dry-run", "syncd forget +84912345678"),
    "mapping test": ("syncd mapping test", "syncd mapping test mappings/zoho.yaml"),
    "mapping show": ("syncd mapping show salesforce > mappings/salesforce.yaml",),
    "preview": ("syncd preview 1f0c --to crm",),
    "twin": ("syncd twin salesforce --port 8500", "syncd twin zoho --bare"),
    "config example": ("syncd config example > config.yaml",),
    "config schema": ("syncd config schema > syncd.schema.json",),
    "connectors": ("syncd connectors", "syncd connectors imap", "syncd connectors new acme --kind webhook"),
    "channels": ("syncd channels", "syncd channels enable call.missed", "syncd channels disable 'ticket.*' --dry-run"),
    "db backup": ("syncd db backup /var/backups/syncd.db",),
    "completion": ("syncd completion bash > /etc/bash_completion.d/syncd",),
}
"""Command -> lines that can be typed."""


class GroupedCommands(TyperGroup):
    """The program's own help, its commands listed by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        known = {
            name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name)) is not None
        }
        grouped = {name for names in PANELS.values() for name in names}
        panels = {**PANELS, "Commands": tuple(name for name in known if name not in grouped)}
        wide = max(len(name) for name in known)
        for panel, names in panels.items():
            limit = formatter.width - 6 - wide
            rows = [(name.ljust(wide), known[name].get_short_help_str(limit)) for name in names if name in known]
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)


def add_examples(app: Any, prefix: str = "") -> None:
    """Puts the examples below the help of every command of a Typer."""
    for command in app.registered_commands:
        name = f"{prefix} {command.name or command.callback.__name__}".strip()
        command.epilog = epilog(name) or command.epilog
    for group in app.registered_groups:
        add_examples(group.typer_instance, str(group.name))


def epilog(name: str) -> str | None:
    """The examples of one command as click wants them: \\b keeps the lines as they are."""
    lines = EXAMPLES.get(name)
    return "\b\nExamples:\n" + "\n".join(f"  $ {line}" for line in lines) if lines else None
