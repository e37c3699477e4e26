"""The same cluster inside the test's own process, where nobody is killed: quick enough for one test a fault."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from syncd.config.loading import load_settings
from syncd.observability.logs import set_up_logs
from syncd.service.daemon import Daemon
from syncd.twins import create


class LocalTwin:
    """A twin in a thread; as `processes.Twin`."""

    def __init__(self, name: str, folder: Path, port: int, faults: Sequence[Mapping[str, Any]] = ()) -> None:
        self._twin = create(name, journal=folder / "twin.journal", faults=faults)
        self.url = self._twin.start(port)
        self.text = ""

    def records(self, object_: str) -> list[dict[str, Any]]:
        return self._twin.records(object_)

    def stats(self) -> dict[str, Any]:
        return self._twin.stats()

    def calls(self) -> list[dict[str, Any]]:
        return list(self._twin.calls)

    def add(self, object_: str, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._twin.add(object_, **row)

    def hurt(self, *faults: Mapping[str, Any]) -> None:
        self._twin.plan.add(faults)

    def heal(self) -> None:
        self._twin.plan.clear()
        self._twin.release()

    def finish(self) -> None:
        self._twin.stop()
        self._twin.store.close()


class LocalDaemon:
    """A daemon in threads; as `harness.Daemon`. Its log is in `text`."""

    def __init__(self, config: Path, port: int) -> None:
        self.port = port
        self._log = io.StringIO()
        set_up_logs(stream=self._log, as_json=True)
        self.daemon = Daemon(load_settings(config))
        self.daemon.start()
        self._runs = True

    @property
    def text(self) -> str:
        return self._log.getvalue()

    def ready(self) -> Self:
        return self

    def ends(self) -> int:
        self.finish()
        return 0

    def finish(self) -> None:
        if self._runs:
            self._runs = False
            self.daemon.stop()
