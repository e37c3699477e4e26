"""What `status` looks at: the store, and the configuration by name, also while the file on disk is being fixed.

A service keeps its previous configuration when the new one is invalid; `status` must work then too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from syncd.cli.session import Session
from syncd.errors import ConfigError

if TYPE_CHECKING:
    from syncd.service.status import ConfigurationView
    from syncd.store import Store

_DATABASE = re.compile(r"^database:[^\n]*", re.MULTILINE)


@contextmanager
def running(here: Session) -> Iterator[tuple[Store, ConfigurationView, Sequence[str]]]:
    """(the store, what is configured, why daemons refuse the file on disk). Of an invalid file only the line `database:` is
    read, and a running daemon must say what it works by; with none, the file's faults are raised as ever."""
    from syncd.service.job_runner import PRESENCE
    from syncd.store import Store
    from syncd.store.announcements import IN_FORCE, REFUSED, Announcements

    try:
        settings = here.settings
    except ConfigError as error:
        url = database_of(here.config_path)
        if url is None:
            raise
        with Store.open(url, migrate=False) as store:
            alive = store.leases.holders(PRESENCE)
            said = Announcements(store).of(IN_FORCE, alive)
            if not said:
                raise
            yield store, _in_force(said[0]), Announcements(store).of(REFUSED, alive) or [str(error)]
        return
    with here.store() as store:
        yield store, settings, Announcements(store).of(REFUSED, store.leases.holders(PRESENCE))


def _in_force(text: str) -> ConfigurationView:
    from syncd.service.reload import InForce

    return msgspec.json.decode(text, type=InForce)


def database_of(path: Path) -> str | None:
    """The database of a file that is invalid elsewhere; None when that cannot be determined, or it is not there yet."""
    from syncd.config.loading import read_text
    from syncd.config.models import Settings
    from syncd.config.secret_refs import resolve
    from syncd.config.yaml_positions import read_yaml
    from syncd.service.assembly import anchored

    line = _DATABASE.search(read_text(path))
    try:
        data = read_yaml(line.group(), str(path)).data if line else {}
    except ConfigError:
        return None
    default = Settings.model_fields["database"].default.get_secret_value()
    found = resolve(str(data.get("database") or default), os.environ, path.parent)
    if found.missing or found.wrong:
        return None
    url = anchored(found.text, path.parent)
    absent = url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()
    return None if absent else url
