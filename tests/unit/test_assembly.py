"""What `check` says: faults of connectors and mappings where they stand, the example valid without any environment."""

import json
import re
from pathlib import Path

import pytest
import yaml

from syncd.service.assembly import anchored, check_configuration

HERE = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAP_PASSWORD", "TWILIO_TOKEN", "FORMS_SECRET", "SHOP_SECRET", "SF_ID", "SF_SECRET"):
        monkeypatch.delenv(name, raising=False)


def check(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return [str(fault).removeprefix(f"{path}:") for fault in check_configuration(path).faults]


def test_the_example_is_whole_but_for_its_secrets() -> None:
    report = check_configuration(HERE / "config.example.yaml")
    assert not report.faults
    assert not report.warnings
    said = yaml.safe_load((HERE / "config.example.yaml").read_text("utf-8"))
    places = set(re.findall(r"\$\{(\w+)\}", json.dumps(said)))
    assert {variable for variable in places if any(variable in str(one) for one in report.missing)} == places
    assert report.summary == f"ok: {len(said['sources'])} sources, {len(said['destinations'])} destinations"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: {b: {type: maildir, path: x, cron: '61 * * * *'}}", "1:39 sources.b.cron: minute: '61' is not 0-59"),
        ("sources: {b: {type: maildir, path: x, poll: 5m, cron: '* * * * *'}}", "either poll: or cron:, not both"),
        ("sources: {b: {type: maildir, path: x, poll: 0s}}", "1:39 sources.b.poll: 0s is too often: at least 100ms"),
        ("sources: {b: {type: maildir, path: x, poll: 99ms}}", "sources.b.poll: 99ms is too often"),
        ("sources: {b: {type: maildir, path: x, cron: '0 0 31 2 *'}}", "sources.b.cron: '0 0 31 2 *' never comes"),
        (
            "exclude: {domains: ['*.y.com']}",
            "1:21 exclude.domains[0]: '*.y.com': a domain stands for its subdomains too; write y.com",
        ),
        ("exclude: {domains: [.y.com]}", "exclude.domains[0]: '.y.com': a domain stands for its subdomains too; write"),
        ("exclude: {domains: ['y.*']}", "exclude.domains[0]: 'y.*': patterns are not supported; name each domain"),
        ("exclude: {domains: [a@y.com]}", "exclude.domains[0]: 'a@y.com' is not a domain; list email addresses under"),
        (
            "exclude: {addresses: [a@y.com, '*@y.com']}",
            "exclude.addresses[1]: '*@y.com' is not an email address; to exclude the whole domain, write y.com under domains",
        ),
        (
            "exclude: {addresses: [y.com]}",
            "exclude.addresses[0]: 'y.com' is not an email address; to exclude the whole domain, write y.com",
        ),
        ("exclude: {addresses: ['a?@y.com']}", "exclude.addresses[0]: 'a?@y.com': patterns are not supported"),
        (
            "sources: {b: {type: webhook, verify: {scheme: bearer, secret: x}, poll: 5m}}",
            "1:67 sources.b.poll: a webhook source is not polled (it receives webhooks; leave the key out)",
        ),
        (
            "destinations: {a: {type: database, url: 'sqlite:///x.db', mapping: nowhere.yaml}}",
            "destinations.a.mapping: no mapping nowhere.yaml in",
        ),
        ("database: mysql://h/x", "1:1 database:"),
        (
            "sources: {t: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: ''}}",
            "1:11 sources.t: twilio needs a secret that is not empty",
        ),
        (
            "destinations: {a: {type: database, url: 'sqlite:///./syncd.db'}}",
            "1:16 destinations.a: its mapping writes into syncd's own table signals (give it a database of its own)",
        ),
        (
            "database: postgresql://u:p@localhost/d\n"
            "destinations: {a: {type: database, url: 'postgresql+psycopg://v@127.0.0.1:5432/d'}}",
            "2:16 destinations.a: its mapping writes into syncd's own table signals",
        ),
    ],
)
def test_each_fault_stands_in_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in fault for fault in check(tmp_path, text)), check(tmp_path, text)


@pytest.mark.parametrize(
    ("verify", "warned"),
    [
        ("{scheme: bearer, secret: x}", False),
        ("{scheme: hmac, secret: x, header: x-sig}", False),
        ("{scheme: hmac, secret: x, header: x-sig, signed: '{url}{body}'}", True),
        ("{scheme: mandrill, secret: x}", True),
    ],
)
def test_only_a_signature_over_the_url_asks_for_the_public_url(tmp_path: Path, verify: str, warned: bool) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"sources: {{b: {{type: webhook, verify: {verify}}}}}")
    report = check_configuration(path)
    assert not report.faults
    assert [warning.message for warning in report.warnings if "over the URL" in warning.message] == (
        ["server.public_url is not set: signatures over the URL use the Host header"] if warned else []
    )


def test_excluded_domains_and_addresses_as_people_write_them(tmp_path: Path) -> None:
    assert not check(tmp_path, "exclude: {domains: [y.com, '@Z.com', xn--bcher-kva.example], addresses: [a+b@y.com]}")


def test_a_database_shared_with_the_store_is_good_for_tables_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "rules:\n  - {id: a, signals: ['*'], upsert: archive.signals, key: k, fields: {x: '{{ signal.id }}'}}\n"
    )
    url = "postgresql+psycopg://u@h/d"
    text = f"database: {url}\nsecret_key: {'k' * 40}\ndestinations: {{a: {{type: database, url: '{url}', mapping: own.yaml}}}}"
    assert not check(tmp_path, text)


def test_faults_of_a_mapping_name_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "rules:\n  - {id: a, signals: ['*'], upsert: t, key: k, fields: {x: '{{ nobody }}'}}\n"
    )
    found = check(tmp_path, "destinations: {a: {type: database, url: 'sqlite:///x.db', mapping: own.yaml}}")
    assert len(found) == 1
    assert "own.yaml:2:" in found[0]


def test_faults_of_the_file_hide_none_of_the_mappings(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "rules:\n  - {id: a, signals: ['*'], upsert: t, key: k, fields: {x: '{{ nobody }}'}}\n"
    )
    found = check(
        tmp_path,
        "region: Mars\n"
        "destinations:\n"
        "  a: {type: database, url: 'sqlite:///x.db', mapping: own.yaml}\n"
        "  b: {type: database, mapping: gone.yaml}\n",
    )
    told = "\n".join(found)
    assert len(found) == 4
    assert "1:1 region: 'Mars' is not a country code" in told
    assert "4:3 destinations.b.url: this key is required" in told
    assert "own.yaml:2:" in told
    assert "4:23 destinations.b.mapping: no mapping gone.yaml in" in told


def test_a_relative_database_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert anchored("sqlite:///./x.db", tmp_path) == f"sqlite:///{tmp_path}/x.db"
    assert anchored("sqlite:////var/x.db", tmp_path) == "sqlite:////var/x.db"
    assert anchored("postgresql+psycopg://u@h/d", tmp_path) == "postgresql+psycopg://u@h/d"


UPDATES = """people:
  match: [{object: people, by: {email: "{{ person.email }}"}}]
rules:
  - {id: tags, name: Tags, signals: ["*"], update: people, RULE}
"""


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("add: {tags: [a]}", "does not tell the values of a field apart, so none can be added or removed"),
        ("remove: {tags: [a]}", "does not tell the values of a field apart, so none can be added or removed"),
    ],
)
def test_a_rule_that_its_destination_cannot_follow(tmp_path: Path, rule: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(UPDATES.replace("RULE", rule), encoding="utf-8")
    text = "destinations: {archive: {type: database, url: 'sqlite:///x.db', mapping: own.yaml}}"
    (fault,) = check(tmp_path, text)
    key = rule.partition(":")[0]
    assert fault.startswith(f"{tmp_path}/own.yaml:4:")
    assert f"rules[0].{key}: destination archive: database {said}" in fault
