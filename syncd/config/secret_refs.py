"""`${VAR}`, `${file:/path}` and `${credential:name}` in YAML text: where secrets come from. `$${` is a literal `${`.

Pure but for reading the named file. Called by `settings_file`; never logs or returns a value in an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_REFERENCE = re.compile(r"\$(\$)?\{([^{}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST_SECRET = 1_000_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """`text` with every reference replaced. `missing`: references without a value, with what to do. `wrong`: references
    that have no value. `used`: whether any reference stood there at all."""

    text: str
    missing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    used: bool = False


@dataclass
class _SecretsFound:
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    used: bool = False


def resolve(text: str, env: Mapping[str, str], base: Path) -> Resolved:
    """Fills the references of one YAML scalar. Relative files are looked for beside the configuration (`base`)."""
    found = _SecretsFound()

    def fill(match: re.Match[str]) -> str:
        if match.group(1):
            return "${" + match.group(2) + "}"
        found.used = True
        return _value(match.group(2).strip(), env, base, found)

    filled = _REFERENCE.sub(fill, text) if "${" in text else text
    return Resolved(filled, tuple(found.missing), tuple(found.wrong), found.used)


def files_named(text: str, env: Mapping[str, str], base: Path) -> list[Path]:
    """The files that the references in a text are read from, be they there or not."""
    found = []
    for escaped, reference in _REFERENCE.findall(text):
        kind, _, name = reference.strip().partition(":")
        if kind == "file" and not escaped:
            found.append(base / name.strip())
        elif kind == "credential" and not escaped and env.get("CREDENTIALS_DIRECTORY"):
            found.append(Path(env["CREDENTIALS_DIRECTORY"]) / name.strip())
    return found


def _value(reference: str, env: Mapping[str, str], base: Path, found: _SecretsFound) -> str:
    kind, colon, name = reference.partition(":")
    if not colon:
        if not _VARIABLE.fullmatch(reference):
            found.wrong.append(
                f"${{{reference}}} is not a reference; write ${{NAME}}, ${{file:/path}} or ${{credential:NAME}}"
            )
            return ""
        if reference not in env:
            found.missing.append(f"environment variable {reference} is not set")
            return ""
        if not env[reference].strip():
            found.missing.append(f"environment variable {reference} is empty")
        return env[reference]
    if kind == "file":
        return _read(base / name.strip(), f"file {name.strip()}", found)
    if kind == "credential":
        directory = env.get("CREDENTIALS_DIRECTORY")
        if not directory:
            found.missing.append(
                f"credential {name} needs systemd (LoadCredential={name}:…, CREDENTIALS_DIRECTORY is not set)"
            )
            return ""
        return _read(Path(directory) / name.strip(), f"credential {name.strip()}", found)
    found.wrong.append(
        f"${{{kind}:…}} is not a source of secrets; use ${{NAME}}, ${{file:/path}} and ${{credential:NAME}}"
    )
    return ""


def _read(path: Path, what: str, found: _SecretsFound) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_SECRET + 1)
        if len(raw) > LARGEST_SECRET:
            found.wrong.append(f"{what} is larger than {LARGEST_SECRET} bytes; that is too large for a secret")
            return ""
        text = raw.decode("utf-8").rstrip("\r\n")
        if not text.strip():
            found.missing.append(f"{what} is empty")
        return text
    except OSError as error:
        found.missing.append(f"{what} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        found.wrong.append(f"{what} is not UTF-8 text")
    return ""
