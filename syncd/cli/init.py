"""`init`: a few questions, and a configuration that passes `check`, with its mappings beside it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import registry
from syncd.cli.completing import destination_types, source_types
from syncd.cli.session import Session, session
from syncd.errors import ConfigError, SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.beginning import Beginning, Entry, Question


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
    force: Annotated[bool, typer.Option("--force", help="write over files that are there")] = False,
) -> None:
    """Asks a few questions, writes config.yaml and the mapping.

    Everything can be given by options. A secret that is typed goes into a file of its own, readable by you alone.
    """
    from syncd.beginning import compose

    here = session(context)
    path = here.cwd / (here.given or "config.yaml")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; --force writes over it, --config FILE writes elsewhere")
    asking = _Asking(here, _answers(values or ()), asks=sys.stdin.isatty() and not yes)
    entries = asking.entries(source or [], destination or [])
    common = asking.common(path)
    for entry in entries:
        asking.entry(entry, path)
    asking.no_stranger()
    beginning = compose(common, entries)
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


class _Asking:
    """Takes answers from the options, then from the person; without one, what is missing is named all at once."""

    def __init__(self, here: Session, given: dict[str, str], *, asks: bool) -> None:
        self._here = here
        self._given = given
        self._used: set[str] = set()
        self._asks = asks

    def entries(self, sources: Sequence[str], destinations: Sequence[str]) -> list[Entry]:
        from syncd.beginning import named

        chosen: list[Entry] = []
        words: dict[registry.Role, Sequence[str]] = {"source": sources, "destination": destinations}
        for role in registry.ROLES:
            found = list(words[role]) or (self._choose(role) if self._asks else [])
            if not found:
                known = ", ".join(registry.names(role))
                raise UsageError(f"which {role}? give --{role} TYPE ({known}), or run it on a terminal")
            chosen += named(role, found)
        return chosen

    def _choose(self, role: registry.Role) -> list[str]:
        names = registry.names(role)
        self._here.out.say(f"\n{'Where do signals come from?' if role == 'source' else 'Where do records go?'}")
        for name in names:
            self._here.out.say(f"  {name:12} {registry.load(role, name).summary}")
        while True:
            typed = str(typer.prompt(f"{role}s, with spaces between", err=True))
            found = typed.replace(",", " ").split()
            wrong = [word for word in found if word.rpartition("=")[2] not in names]
            if found and not wrong:
                return found
            self._here.out.say(f"  there is no {' or '.join(wrong)}; there are: {', '.join(names)}")

    def common(self, path: Path) -> dict[str, str]:
        from syncd.beginning import common_questions

        answers: dict[str, str] = {}
        if self._asks:
            self._here.out.say("\nFor all of it (Enter takes what stands in brackets, or leaves the key out):")
        self._until_valid(lambda: self._ask(common_questions(machine_zone()), answers, "", None), answers, [], path)
        return answers

    def entry(self, entry: Entry, path: Path) -> None:
        from syncd.beginning import questions

        if self._asks:
            self._here.out.say(f"\n{entry.name} ({entry.type}):")
        self._until_valid(
            lambda: self._ask(questions(entry), entry.answers, f"{entry.name}.", entry), {}, [entry], path
        )

    def _until_valid(self, ask: Any, common: dict[str, str], entries: list[Entry], path: Path) -> None:
        """Asks again, with what was answered as the suggestion, until these keys have no fault."""
        from syncd.beginning import compose
        from syncd.settings_file import parse_settings

        while True:
            ask()
            try:
                parse_settings(compose(common, entries).config, path, {}, need_secrets=False)
                return
            except ConfigError as error:
                faults = [
                    f"{fault.key}: {fault.message}" + (f" ({fault.hint})" if fault.hint else "")
                    for fault in error.faults
                ]
            if not self._asks:
                raise UsageError("; ".join(dict.fromkeys(faults)))
            for fault in dict.fromkeys(faults):
                self._here.out.say(f"  {fault}")

    def _ask(self, questions: Any, answers: dict[str, str], prefix: str, entry: Entry | None) -> None:
        missing: list[str] = []
        before = dict(answers)
        answers.clear()
        for key, text in self._given.items():
            if prefix and key.startswith(prefix):
                answers[key.removeprefix(prefix)] = text
                self._used.add(key)
        for question in questions:
            whole = prefix + question.key
            if whole in self._given:
                answers[question.key] = self._given[whole]
                self._used.add(whole)
            elif self._asks:
                answers[question.key] = self._put(question, before.get(question.key, ""), entry)
            elif question.suggest:
                answers[question.key] = question.suggest
            elif question.secret and entry is not None:
                answers[question.key] = self._reference(question, entry)
            elif not question.required:
                answers[question.key] = ""
            else:
                missing.append(whole)
        if missing:
            raise UsageError("unanswered, and nobody to ask: " + ", ".join(f"--set {key}=…" for key in missing))

    @staticmethod
    def _reference(question: Question, entry: Entry | None) -> str:
        from syncd.beginning import variable

        return f"${{{variable(entry, question.key)}}}"

    def _put(self, question: Question, before: str, entry: Entry | None) -> str:
        """One question on the terminal."""
        self._here.out.say(f"  {question.key}: {question.about}" if question.about else f"  {question.key}")
        if question.secret and not question.suggest:
            reference = self._reference(question, entry)
            typed = typer.prompt(
                f"  type it (kept in a file of its own), or Enter for {reference}",
                default="",
                hide_input=True,
                show_default=False,
                err=True,
            )
            return str(typed).strip() or reference
        suggest = before or question.suggest
        while True:
            choices = f" ({', '.join(question.choices)})" if question.choices else ""
            typed = str(
                typer.prompt(f"  {question.key}{choices}", default=suggest, show_default=bool(suggest), err=True)
            ).strip()
            if question.choices and typed and typed not in question.choices:
                self._here.out.say(f"  one of: {', '.join(question.choices)}")
            elif typed or not question.required:
                return typed

    def no_stranger(self) -> None:
        """Raises UsageError for answers to what nobody asked."""
        strange = [key for key in self._given if key not in self._used]
        if strange:
            raise UsageError(f"--set {strange[0]}: there is no such key; `syncd connectors TYPE` lists them")


def machine_zone() -> str:
    """The time zone of this machine, UTC when it does not tell."""
    from zoneinfo import available_timezones

    known = available_timezones()
    said = os.environ.get("TZ", "").lstrip(":")
    if said in known:
        return said
    link = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    return link if link in known else "UTC"


def _write(path: Path, beginning: Beginning, *, force: bool) -> list[Path]:
    """All files or none: they are made in a directory beside, checked there, and moved into place."""
    from syncd.assembly import check_configuration
    from syncd.mapping.shipped import shipped_mappings, tests_beside

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


def _next(here: Session, path: Path, beginning: Beginning, entries: Sequence[Entry], written: Sequence[Path]) -> None:
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


def _steps(path: Path, beginning: Beginning, entries: Sequence[Entry]) -> Iterator[str]:
    from syncd.assembly import connector_of
    from syncd.capabilities import SignsIn
    from syncd.connector import WebhookSource
    from syncd.settings_file import load_settings

    if beginning.variables:
        yield f"set for the service, and for your shell: {', '.join(beginning.variables)}"
    if beginning.secrets:
        yield f"see that only the service reads {', '.join(beginning.secrets)}"
    for entry in entries:
        note = registry.load(entry.role, entry.type).secrets_note
        yield f"{entry.name}: what to switch on there is in docs/connectors/{entry.type}.md" + (
            f" ({note})" if note else ""
        )
    loaded = load_settings(path, dict.fromkeys(beginning.variables, "x"), need_secrets=False)
    for entry in entries:
        try:
            built = connector_of(loaded, entry.role, entry.name)
            if isinstance(built, WebhookSource):
                base = loaded.settings.server.public_url if loaded.settings else ""
                yield f"{entry.name}: let the sender call {base or 'https://YOUR.HOST'}/webhooks/{entry.name}"
            if isinstance(built, SignsIn):
                built.sign_in()
                yield f"syncd auth {entry.name}"
        except (SyncdError, ValueError):  # it needs nobody, or a secret that is not there yet
            continue
    elsewhere = "" if path.name == "config.yaml" else f" --config {path}"
    yield f"syncd{elsewhere} check"
    yield f"syncd{elsewhere} run"
