"""One signal is followed by its id: through the log of a real daemon, and through its traces."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from syncd.errors import UsageError
from syncd.observability import traces
from tests.watched import watched

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_signal_is_found_in_the_log_at_each_step(tmp_path: Path) -> None:
    with watched(tmp_path) as rig:
        assert rig.post(1, **{"x-request-id": "from-the-proxy"}) == 200
        assert rig.post(2, **{"x-request-id": "no <id> at all"}) == 200
        rig.delivered(2)
        lines = rig.lines
    first, second = (line for line in lines if line["event"] == "signal stored")
    assert first["request"] == "from-the-proxy"
    assert len(second["request"]) == 16, "what is no id is not believed"
    way = [line for line in lines if line.get("signal") == first["signal"]]
    assert [line["event"] for line in way] == ["signal stored", "attempt", "delivery ended"]
    assert (way[1]["rule"], way[1]["outcome"], way[1]["destination"]) == ("archive", "written", "archive")
    assert way[1]["delivery"] == way[2]["delivery"] == f"{first['signal']}/archive"
    assert "an1@example.org" not in rig.log.getvalue()


def test_at_info_no_signal_has_a_line_and_a_refusal_has_its_request(tmp_path: Path) -> None:
    with watched(tmp_path, level="info") as rig:
        assert rig.post(1) == 200
        assert rig.post(2, secret="wrong", **{"x-request-id": "abc-1"}) == 401
        rig.delivered(1)
        lines = rig.lines
    assert [line for line in lines if "signal" in line] == []
    assert [line["request"] for line in lines if line["event"] == "webhook not authentic"] == ["abc-1"]


def test_traces_meet_across_the_queue(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    assert traces.set_up({}, exporter=spans)
    try:
        with watched(tmp_path) as rig:
            assert rig.post(1, traceparent=PARENT, authorization="Bearer s3cret-of-the-forms") == 200
            rig.delivered(1)
            signal = UUID(next(line["signal"] for line in rig.lines if line["event"] == "signal stored"))
        made = {span.name: span for span in spans.get_finished_spans()}
    finally:
        traces.shut_down()
    assert {"webhook", "commit", "signal", "round", "call", "attempt"} <= made.keys()
    webhook, root = made["webhook"], made["signal"]
    assert f"{webhook.context.trace_id:032x}" == PARENT.split("-")[1], "the caller's own trace goes on"
    assert webhook.parent is not None
    assert f"{webhook.parent.span_id:016x}" == PARENT.split("-")[2]
    assert made["commit"].parent == webhook.context
    assert root.context.trace_id == signal.int, "a signal's trace has its id"
    assert [link.context.span_id for link in root.links] == [webhook.context.span_id]
    assert [link.context.span_id for link in made["round"].links] == [root.context.span_id]
    assert made["call"].context.trace_id == made["round"].context.trace_id
    assert made["attempt"].context.trace_id == signal.int
    parent = made["attempt"].parent
    assert parent is not None
    assert parent.span_id == root.context.span_id
    told = " ".join(str(span.attributes) + str(span.events) for span in spans.get_finished_spans())
    assert "example.org" not in told
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_only_the_environment_switches_traces_on(environ: dict[str, str], wanted: bool) -> None:
    assert traces.wanted(environ) is wanted


def test_wanted_and_not_installed_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "syncd.observability.otel", None)
    with pytest.raises(UsageError, match=r"pip install 'syncd\[otel\]'"):
        traces.set_up({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})


def test_they_go_out_by_otlp_as_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[str, str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, self.headers.get("x-tenant", ""), body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=us")
    assert traces.set_up(os.environ)
    try:
        with watched(tmp_path, level="info") as rig:
            assert rig.post(1) == 200
            rig.delivered(1)
    finally:
        traces.shut_down()
        server.shutdown()
        server.server_close()
    assert {(path, tenant) for path, tenant, _ in got} == {("/v1/traces", "us")}
    sent = b"".join(body if body[:2] != b"\x1f\x8b" else gzip.decompress(body) for _, _, body in got)
    assert all(name in sent for name in (b"webhook", b"commit", b"signal", b"round", b"call", b"attempt"))
    assert b"example.org" not in sent
    assert b"s3cret" not in sent


def test_nothing_is_imported_when_nothing_is_wanted() -> None:
    code = (
        "import sys, syncd.service.daemon, syncd.observability.traces as t; "
        "t.set_up({}); print('opentelemetry' in str(sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
