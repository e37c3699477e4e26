"""The figures of `bench.ingest` for the runner: durable webhooks beside no-ops of the same server, on both databases."""

from __future__ import annotations

from bench.figures import Aim, Figure, LeftOut, Table
from bench.ingest import AIM_GROUPING, AIMS, compare, databases
from tests.servers import NoPostgres

NAMES = {
    "route": "no-op route that reads the body",
    "raw": "no-op without a framework",
    "group": "durable ingest",
    "single": "one commit a request",
}


def run(*, quick: bool = False) -> list[Table]:
    """A table a database. Raises LeftOut only when none can be had."""
    rounds, requests = (1, 3000) if quick else (3, 6000)
    tables, lacking = [], []
    for kind, aim in AIMS.items():
        try:
            with databases(kind) as (one, other):
                middle = compare(kind, one, other, rounds, requests)
        except NoPostgres as reason:
            lacking.append(f"{kind} left out: {reason}")
            continue
        figures = [Figure(name, middle[key], "/s") for key, name in NAMES.items() if key in middle]
        figures.append(Figure("ingest : no-op route", middle["ratio"], "", Aim.at_least(aim)))
        grouping = middle["group"] / middle["single"]
        figures.append(Figure("ingest : one commit a request", grouping, "", Aim.at_least(AIM_GROUPING)))
        title = f"ingest: webhooks durable before their 200, {kind}, 64 connections, {rounds} rounds of {requests:,}"
        tables.append(Table(title, figures))
    if not tables:
        raise LeftOut("; ".join(lacking))
    tables[-1].notes.extend(lacking)
    return tables
