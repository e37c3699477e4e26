"""How long a signal of 15 fields takes to map: syncd's one function a rule, beside a Jinja2 template a field, in alternating
rounds of one run."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from bench.figures import Aim, Figure, Table
from syncd.config.yaml_positions import read_yaml
from syncd.mapping import load_mapping
from syncd.mapping.compiler import compile_groups
from syncd.mapping.expressions import Sandbox
from syncd.mapping.filters import make_filters
from syncd.mapping.language import read_mapping
from syncd.signals import Signal, make_person

ROUNDS, EACH = 21, 300
AIM = Aim.most(60)
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
FIELDS = {
    "Subject": "{{ signal.title | shorten(255) }}",
    "Description": "{{ signal.text | shorten(32000) }}",
    "ActivityDate": "{{ signal.occurred_at | date }}",
    "FollowUp": "{{ signal.occurred_at | business_days(2) }}",
    "Email": "{{ person.email }}",
    "Phone": "{{ person.phone }}",
    "FirstName": "{{ person.first_name }}",
    "LastName": "{{ person.last_name or person.email or person.phone }}",
    "Company": "{{ person.company or '[not provided]' }}",
    "Link": "{{ signal.url }}",
    "Answer": "Reply: {{ signal.reply }}",
    "Score": "{{ signal.data.score }}",
    "Campaign": "{{ signal.data.campaign.name | upper }}",
    "FirstLink": "{{ signal.data.links[0].url }}",
    "Mood": "{{ 'good' if signal.data.score >= 8 else 'bad' }}",
}
RULE = "rules:\n  - {id: bench, name: Bench, signals: ['*'], upsert: Task, key: Key, fields: {"
MAPPING = RULE + ", ".join(f'{name}: "{value}"' for name, value in FIELDS.items()) + "}}\n"
SIGNAL = Signal(
    id=uuid.uuid5(uuid.NAMESPACE_URL, "bench"),
    type="survey.responded",
    source="survey",
    occurred_at=datetime(2026, 1, 15, 9, tzinfo=UTC),
    received_at=datetime(2026, 1, 15, 9, tzinfo=UTC),
    title="Answered the survey Service 2026: 9 of 10",
    text="Quick answers, friendly people. " * 20,
    url="https://survey.example.com/answers/1",
    reply="mailto:an@example.com",
    person=make_person(name="Nguyen Van An", email="an@example.com", phone="+84912345678", company="An Co"),
    data={"score": 9, "campaign": {"name": "Service 2026"}, "links": [{"url": "https://example.com"}]},
)


def separate_templates() -> Callable[[], Any]:
    """What others do: render each field's template."""
    sandbox = Sandbox(make_filters(ZONE, "VN"))
    templates = {name: sandbox.from_string(value) for name, value in FIELDS.items()}
    names = {"signal": SIGNAL, "person": SIGNAL.person}
    return lambda: {name: template.render(names) for name, template in templates.items()}


def one_template() -> Callable[[], Any]:
    """Our Jinja2 path: the fields of the rule evaluated together."""
    sandbox = Sandbox(make_filters(ZONE, "VN"))
    parts, _ = read_mapping(read_yaml(MAPPING, "bench"), sandbox)
    make = compile_groups([parts.rules[0].fields], sandbox, only_jinja=True)
    return lambda: make(SIGNAL, SIGNAL.person)


def ours() -> Callable[[], Any]:
    """What dispatch calls: the drafts of a signal."""
    mapping = load_mapping(MAPPING, timezone=ZONE, region="VN")
    return lambda: mapping.drafts(SIGNAL, live=True)


def run(*, quick: bool = False) -> list[Table]:
    """Microseconds a signal, and how many times that the others take."""
    ways = {
        "syncd": ours(),
        "one Jinja2 template a rule": one_template(),
        "one Jinja2 template a field": separate_templates(),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    rounds = ROUNDS // 3 if quick else ROUNDS
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(EACH):
                way()
            times[name].append((time.perf_counter() - start) / EACH * 1e6)
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    figures = [
        Figure(name, middle[name], "µs", AIM if name == "syncd" else None, (min(taken), max(taken)))
        for name, taken in times.items()
    ]
    figures += [Figure(f"{name} : syncd", took / middle["syncd"]) for name, took in middle.items() if name != "syncd"]
    return [Table(f"mapping: a signal of {len(FIELDS)} fields, median of {rounds} rounds", figures)]


if __name__ == "__main__":
    for table in run():
        print(table)
