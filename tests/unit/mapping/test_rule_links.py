"""Links to another rule's record: those that lead nowhere or in a circle are faults with their place."""

from __future__ import annotations

import pytest

from syncd.errors import ConfigError
from syncd.mapping import load_mapping

RULE = '  - {{id: {0}, name: n, signals: ["*"], upsert: Task, key: K, {1}fields: {{S: "{{{{ signal.title }}}}"}}}}\n'


def rules(**links: str) -> str:
    return "rules:\n" + "".join(RULE.format(name, f"link: {{F: {to}}}, " if to else "") for name, to in links.items())


def test_a_link_to_a_rule_needs_no_people() -> None:
    mapping = load_mapping(rules(case="", comment="case"))
    assert mapping.parts.rules[1].link == {"F": "case"}


@pytest.mark.parametrize(
    ("links", "line", "message", "hint"),
    [
        ({"case": "", "comment": "cases"}, 3, "there is no rule cases to link to", "did you mean case?"),
        ({"a": "xyzzy"}, 2, "there is no rule xyzzy to link to", "use person, account, deal or the id of a rule"),
        ({"a": "a"}, 2, "rules link in a circle: a -> a", ""),
        ({"a": "b", "b": "c", "c": "a"}, 2, "rules link in a circle: a -> b -> c -> a", ""),
    ],
)
def test_wrong_links(links: dict[str, str], line: int, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping(rules(**links), name="m.yaml")
    first = caught.value.faults[0]
    assert (first.file, first.line, first.message) == ("m.yaml", line, message)
    assert hint in (first.hint, "")


def test_a_rule_that_only_points_into_a_circle_is_not_part_of_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping(rules(a="b", b="c", c="b"))
    assert [fault.line for fault in caught.value.faults] == [3, 4]
