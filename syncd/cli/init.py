"""`init`: a few questions, and a configuration that passes `check`, with its mappings beside it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import registry
from syncd.cli.completing import destination_types, source_types
from syncd.cli.questions import Asking
from syncd.cli.session import Session, session
from syncd.errors import SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.scaffold.first_config import ConfigEntry, FirstConfig


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("init")(init)


def init(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="[NAME=]TYPE",
            help="a source: imap, inbox=imap; may be repeated",
            autocompletion=source_types,
        ),
    ] = None,
    destination: Annotated[
        list[str] | None,
        typer.Option(
            "--destination",
            metavar="[NAME=]TYPE",
            help="a destination: salesforce, crm=zoho; may be repeated",
            autocompletion=destination_types,
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="an answer: timezone=Asia/Tokyo, imap.host=mail.example.com"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing: what is not given takes its default")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite existing files")] = False,
) -> None:
    """Asks a few questions, writes config.yaml and the mapping.

    Everything can be given by options. A secret that is typed goes into a file of its own, readable by you alone.
    """
    from syncd.scaffold.first_config import first_config

    here = session(context)
    path = here.cwd / (here.given or "config.yaml")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; --force writes over it, --config FILE writes elsewhere")
    asking = Asking(here, path, _answers(values or ()), asks=sys.stdin.isatty() and not yes)
    entries = asking.entries(source or [], destination or [])
    common = asking.common(machine_zone())
    for entry in entries:
        asking.entry(entry)
    asking.all_answered()
    beginning = first_config(common, entries)
    written = _write(path, beginning, force=force)
    _next(here, path, beginning, entries, written)


def _answers(values: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise UsageError("--set: write KEY=VALUE, for example imap.host=mail.example.com")
        found[key] = text
    return found


def machine_zone() -> str:
    """The time zone of this machine, UTC when it does not tell."""
    from zoneinfo import available_timezones

    known = available_timezones()
    said = os.environ.get("TZ", "").lstrip(":")
    if said in known:
        return said
    link = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    return link if link in known else "UTC"


def _write(path: Path, beginning: FirstConfig, *, force: bool) -> list[Path]:
    """All files or none: they are made in a directory beside, checked there, and moved into place."""
    from syncd.mapping.shipped import shipped_mappings, tests_beside
    from syncd.service.assembly import check_configuration

    try:
        with _beside(path) as stage:
            texts: dict[str, tuple[bytes, int]] = {}
            for name in beginning.mappings:
                mapping = shipped_mappings()[name]
                tests = tests_beside(mapping)
                for file in (mapping, *([tests] if tests is not None else [])):
                    texts[f"mappings/{file.name}"] = (file.read_bytes(), 0o644)
            texts |= {name: (text.encode() + b"\n", 0o600) for name, text in beginning.secrets.items()}
            texts[path.name] = (beginning.config.encode(), 0o644)  # the last: it makes the others count
            there = [name for name in texts if (path.parent / name).exists()]
            if there and not force:
                raise UsageError(f"{path.parent / there[0]} is there already; --force writes over it")
            for name, (body, mode) in texts.items():
                _make(stage / name, body, mode)
            report = check_configuration(stage / path.name)
            if report.faults:
                raise UsageError("; ".join(f"{fault.key}: {fault.message}" for fault in report.faults))
            return _move(stage, path.parent, list(texts))
    except OSError as error:
        raise SyncdError(
            f"{error.filename or path}: cannot be written: {error.strerror}; nothing was changed"
        ) from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".syncd-init-", dir=path.parent) as stage:
        yield Path(stage)


def _make(path: Path, body: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o755, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _move(stage: Path, folder: Path, names: Sequence[str]) -> list[Path]:
    """Into place one by one; what was new is taken back when it ends before the last."""
    made: list[Path] = []
    try:
        for name in names:
            target = folder / name
            target.parent.mkdir(mode=(stage / name).parent.stat().st_mode & 0o777, exist_ok=True)
            new = not target.exists()
            (stage / name).replace(target)
            if new:
                made.append(target)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return [folder / name for name in names]


def _next(
    here: Session, path: Path, beginning: FirstConfig, entries: Sequence[ConfigEntry], written: Sequence[Path]
) -> None:
    steps = list(_steps(path, beginning, entries))
    if here.as_json:
        here.out.record({"config": str(path), "files": [str(file) for file in written], "next": steps})
        return
    here.out.say("")
    for file in written:
        here.out.say(f"wrote {file}")
    here.out.say("\nnext:")
    for number, step in enumerate(steps, 1):
        here.out.say(f"  {number}. {step}")


def _steps(path: Path, beginning: FirstConfig, entries: Sequence[ConfigEntry]) -> Iterator[str]:
    """What is to be done now, in its order: secrets and rights first, then what `syncd` checks, signs in and makes."""
    from syncd.capabilities import Preparable, SignsIn
    from syncd.config.loading import load_settings
    from syncd.connector import WebhookSource

    syncd = "syncd" if path.name == "config.yaml" else f"syncd --config {path}"
    if beginning.variables:
        yield f"set for the service, and for your shell: {', '.join(beginning.variables)}"
    if beginning.secrets:
        yield f"see that only the service reads {', '.join(beginning.secrets)}"
    for entry in entries:
        note = registry.load(entry.role, entry.type).secrets_note
        yield f"{entry.name}: what to switch on there is in docs/connectors/{_page(entry)}.md" + (
            f" ({note})" if note else ""
        )
    settings = load_settings(path, {}, need_secrets=False).settings
    base = settings.server.public_url if settings else ""
    called, signed, prepared = [], [], []
    for entry in entries:
        built = _built(path, entry)
        if _can(entry, built, WebhookSource):
            called.append(f"{entry.name}: let the sender call {base or 'https://YOUR.HOST'}/webhooks/{entry.name}")
        if _can(entry, built, Preparable):
            prepared.append(f"{syncd} prepare {entry.name}")
        with suppress(UsageError):  # no sign-in needed
            if isinstance(built, SignsIn):
                built.sign_in()
                signed.append(f"{syncd} auth {entry.name}")
    yield f"{syncd} check"
    yield from signed
    yield f"{syncd} check --online"
    yield from prepared
    yield f"{syncd} run"
    yield from called


def _built(path: Path, entry: ConfigEntry) -> Any:
    """The connector of this entry alone, with a text in place of each unset secret; None where no text will do (the URL of a
    receiver, a signing key)."""
    from syncd.config.loading import parse_settings
    from syncd.scaffold.first_config import first_config
    from syncd.service.assembly import connector_of

    alone = first_config({}, [entry])
    try:
        loaded = parse_settings(alone.config, path, dict.fromkeys(alone.variables, "x"), need_secrets=False)
        return connector_of(loaded, entry.role, entry.name)
    except (SyncdError, ValueError):
        return None


def _can(entry: ConfigEntry, built: Any, protocol: type[Any]) -> bool:
    """Whether the entry's connector implements it; what could not be built is judged by its classes."""
    from syncd.cli.abilities import built_classes

    if built is not None:
        return isinstance(built, protocol)
    return any(issubclass(each, protocol) for each in built_classes(registry.load(entry.role, entry.type)))


def _page(entry: ConfigEntry) -> str:
    """The page in docs/connectors; the destination that has the name of a source has one of its own."""
    shared = entry.role == "destination" and entry.type == "webhook"
    return f"{entry.type}_out" if shared else entry.type
