"""A real daemon with one webhook source and one database destination, whose log, metrics and store a test looks at."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from syncd.config.loading import load_settings
from syncd.observability.logs import set_up_logs
from syncd.service.daemon import Daemon
from tests.chaos.processes import until

SECRET = "s3cret-of-the-forms"
MAPPING = """\
rules:
  - id: archive
    signals: ["*"]
    upsert: signals
    key: key
    fields: {id: "{{ signal.id }}", title: "{{ signal.title }}", email: "{{ person.email }}"}
"""


class Watched:
    """The daemon as it runs in a directory."""

    def __init__(self, folder: Path, level: str) -> None:
        self.folder = folder
        self.log = io.StringIO()
        (folder / "own.yaml").write_text(MAPPING, "utf-8")
        for part in ("new", "cur", "tmp"):
            (folder / "Maildir" / part).mkdir(parents=True)
        verify = {"scheme": "bearer", "secret": SECRET}
        config: dict[str, Any] = {
            "server": {"listen": "127.0.0.1:0"},
            "channels": {"custom": {"*": True}},
            "sources": {
                "forms": {"type": "webhook", "verify": verify, "format": "cloudevents"},
                "inbox": {"type": "maildir", "poll": "1h", "path": str(folder / "Maildir")},
            },
            "destinations": {
                "archive": {"type": "database", "url": f"sqlite:///{folder / 'archive.db'}", "mapping": "own.yaml"}
            },
        }
        (folder / "config.yaml").write_text(json.dumps(config), "utf-8")
        set_up_logs(stream=self.log, as_json=True, level=level)
        self.daemon = Daemon(load_settings(folder / "config.yaml"))
        self.daemon.start()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def post(self, number: int, *, secret: str = SECRET, **headers: str) -> int:
        event = {
            "specversion": "1.0",
            "id": str(number),
            "source": "/shop",
            "type": "order",
            "time": "2026-11-20T08:00:00Z",
            "subject": f"Order {number}",
            "data": {"person": {"email": f"an{number}@example.org"}},
        }
        typed = {"content-type": "application/cloudevents+json", "authorization": f"Bearer {secret}", **headers}
        answer = requests.post(f"{self.daemon.url}/webhooks/forms", data=json.dumps(event), headers=typed, timeout=10)
        return answer.status_code

    def post_raw(self, body: str, secret: str = SECRET) -> int:
        typed = {"content-type": "application/cloudevents+json", "authorization": f"Bearer {secret}"}
        return requests.post(f"{self.daemon.url}/webhooks/forms", data=body, headers=typed, timeout=10).status_code

    def page(self, path: str) -> requests.Response:
        return requests.get(self.daemon.url + path, timeout=10)

    def delivered(self, count: int) -> None:
        line = f'syncd_deliveries{{channel="custom",destination="archive",state="delivered"}} {count}.0'
        other = f'syncd_deliveries{{destination="archive",channel="custom",state="delivered"}} {count}.0'
        until(lambda: line in (page := self.page("/metrics").text) or other in page, "all is delivered")


@contextmanager
def watched(folder: Path, level: str = "debug") -> Iterator[Watched]:
    rig = Watched(folder, level)
    try:
        yield rig
    finally:
        rig.daemon.stop()
        set_up_logs(level="info")
