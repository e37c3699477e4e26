"""The questions of `init`: answers from the options, then from the person at the terminal, each checked at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncd import registry
from syncd.cli.filters import near_or_all
from syncd.cli.session import Session
from syncd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from syncd.scaffold.first_config import ConfigEntry, Question

Questions = Callable[[dict[str, str]], Iterable["Question"]]
"""The questions, one after another, given what is answered so far."""


class Asking:
    """`asks`: the operator is at a terminal. Without one, everything that is missing is named at the end, at once."""

    def __init__(self, here: Session, path: Path, given: dict[str, str], *, asks: bool) -> None:
        self._here = here
        self._path = path
        self._given = given
        self._asks = asks
        self._used: set[str] = set()
        self._missing: list[str] = []

    def entries(self, sources: Sequence[str], destinations: Sequence[str]) -> list[ConfigEntry]:
        """What is to be connected. UsageError names the roles for which nothing is given and no terminal is there to ask on."""
        from syncd.scaffold.first_config import named

        chosen: list[ConfigEntry] = []
        words: dict[registry.Role, Sequence[str]] = {"source": sources, "destination": destinations}
        for role in registry.ROLES:
            found = list(words[role]) or (self._choose(role) if self._asks else [])
            if not found:
                self._missing.append(f"--{role} TYPE ({', '.join(registry.names(role))})")
            chosen += named(role, found)
        return chosen

    def _choose(self, role: registry.Role) -> list[str]:
        names = registry.names(role)
        self._say(f"\n{'Where do signals come from?' if role == 'source' else 'Where do records go?'}")
        for name in names:
            self._say(f"  {name:12} {registry.load(role, name).summary}")
        while True:
            typed = str(typer.prompt(f"{role}s, with spaces between", err=True))
            found = typed.replace(",", " ").split()
            wrong = [word for word in found if word.rpartition("=")[2] not in names]
            if found and not wrong:
                return found
            if wrong:
                near = near_or_all(wrong[0].rpartition("=")[2], names)
                self._say(f"  there is no {' or '.join(wrong)}; {near}")
            else:
                self._say(f"  at least one is needed, for example: {names[0]}")

    def common(self, zone: str) -> dict[str, str]:
        """The answers for the whole file; `zone` is the machine's."""
        from syncd.scaffold.first_config import common_questions

        if self._asks:
            self._say("\nFor the whole configuration (Enter takes the value in brackets, or omits the key):")
        answers: dict[str, str] = {}
        key = secrets.token_urlsafe(32)
        self._until_valid(lambda so_far: common_questions(zone, so_far, key), answers, None)
        return answers

    def entry(self, entry: ConfigEntry) -> None:
        """Fills in the answers for one source or destination."""
        from syncd.scaffold.first_config import questions

        if self._asks:
            self._say(f"\n{entry.name} ({entry.type}):")
        self._until_valid(lambda _: questions(entry), entry.answers, entry)

    def all_answered(self) -> None:
        """UsageError for everything that is missing, and for answers without a question."""
        if self._missing:
            raise UsageError("unanswered, and there is no terminal to ask on: " + ", ".join(self._missing))
        strange = [key for key in self._given if key not in self._used]
        if strange:
            raise UsageError(f"--set {strange[0]}: there is no such key; `syncd connectors TYPE` lists them")

    def _until_valid(self, questions: Questions, answers: dict[str, str], entry: ConfigEntry | None) -> None:
        """Asks again for what does not fit together, with what was right as the suggestion, until there is no fault."""
        before: dict[str, str] = {}
        while True:
            whole = self._ask(questions, answers, before, entry)
            faults = self._faults(answers, entry) if whole else {}
            if not faults:
                return
            if not self._asks:
                raise UsageError("; ".join(faults.values()))
            for fault in faults.values():
                self._say(f"  {fault}")
            before = {key: text for key, text in answers.items() if key not in faults}

    def _ask(
        self, questions: Questions, answers: dict[str, str], before: dict[str, str], entry: ConfigEntry | None
    ) -> bool:
        """False when something required is missing, and there is no terminal."""
        from syncd.scaffold.first_config import normal_answer

        prefix, missing = f"{entry.name}." if entry else "", len(self._missing)
        answers.clear()
        for key, text in self._given.items():
            if prefix and key.startswith(prefix):
                answers[key.removeprefix(prefix)] = text
                self._used.add(key)
        for question in questions(answers):
            whole = prefix + question.key
            if whole in self._given:
                answers[question.key] = normal_answer(question.key, self._given[whole])
                self._used.add(whole)
            elif self._asks:
                self._put(question, answers, before.get(question.key, ""), entry)
            elif question.suggest:
                answers[question.key] = question.suggest
            elif question.secret and entry is not None:
                answers[question.key] = self._reference(question, entry)
            elif not question.required:
                answers[question.key] = ""
            else:
                example = f" (for example {question.example})" if question.example else ""
                self._missing.append(f"--set {whole}=…{example}")
        return len(self._missing) == missing

    def _put(self, question: Question, answers: dict[str, str], before: str, entry: ConfigEntry | None) -> None:
        """One question on the terminal, until its answer can be."""
        from syncd.scaffold.first_config import normal_answer

        example = f" (for example {question.example})" if question.example and not question.suggest else ""
        self._say(f"  {question.key}: {question.about or question.words}{example}")
        while True:
            typed = normal_answer(question.key, self._typed(question, before, entry))
            wrong = self._wrong(question, typed, answers, entry)
            if not wrong:
                answers[question.key] = typed
                return
            answers.pop(question.key, None)
            self._say(f"  {wrong}")

    def _typed(self, question: Question, before: str, entry: ConfigEntry | None) -> str:
        if question.secret and question.key == "secret_key":
            text, default = "  type it (kept in a file of its own), or Enter for a new one", question.suggest
        elif question.secret and not question.suggest:
            default = self._reference(question, entry)
            text = f"  type it (kept in a file of its own), or Enter for {default}"
        else:
            default = before or question.suggest
            choices = f" ({', '.join(question.choices)})" if question.choices else ""
            text = f"  {question.key}{choices}"
            return str(typer.prompt(text, default=default, show_default=bool(default), err=True)).strip()
        typed = typer.prompt(text, default="", hide_input=True, show_default=False, err=True)
        return str(typed).strip() or default

    def _wrong(self, question: Question, typed: str, answers: dict[str, str], entry: ConfigEntry | None) -> str:
        """Why this answer cannot be, "" when it can."""
        example = f"; for example {question.example}" if question.example else ""
        if not typed:
            return f"{question.key} is required{example}" if question.required else ""
        if question.choices and typed not in question.choices:
            return f"{typed!r}: {near_or_all(typed, question.choices)}"
        answers[question.key] = typed
        fault = self._faults(answers, entry).get(question.key, "")
        return fault and f"{fault}{example}"

    def _faults(self, answers: dict[str, str], entry: ConfigEntry | None) -> dict[str, str]:
        """Key of the question -> what is wrong with its answer; the key "" for what concerns several. What is not answered
        yet may be there, too."""
        from syncd.config.loading import parse_settings
        from syncd.scaffold.first_config import first_config
        from syncd.service.assembly import connector_of
        from syncd.store.engine import parse_url

        prefix = f"{entry.role}s.{entry.name}." if entry else ""
        found: dict[str, str] = {}
        try:
            composed = first_config({} if entry else answers, [entry] if entry else [])
            text, typed = composed.config, {}
            for number, (file, secret) in enumerate(composed.secrets.items()):  # their files are not there yet
                text = text.replace(f"${{file:{file}}}", f"${{SYNCD_INIT_{number}}}")
                typed[f"SYNCD_INIT_{number}"] = secret
            loaded = parse_settings(text, self._path, typed, need_secrets=False)
            if entry and not loaded.missing:
                connector_of(loaded, entry.role, entry.name)
            if not entry and answers.get("database"):
                parse_url(answers["database"])
        except ConfigError as error:
            for fault in error.faults:
                key = fault.key.removeprefix(prefix).partition("[")[0]
                words = f"{fault.key}: {fault.message}" + (f" ({fault.hint})" if fault.hint else "")
                found.setdefault(key if key in answers else "", words)
        except UsageError as error:
            found["database" if "database" in str(error) else ""] = str(error)
        return found

    @staticmethod
    def _reference(question: Question, entry: ConfigEntry | None) -> str:
        from syncd.scaffold.first_config import variable

        return f"${{{variable(entry, question.key)}}}"

    def _say(self, text: str) -> None:
        self._here.out.say(text)
