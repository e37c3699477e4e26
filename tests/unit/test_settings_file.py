"""The configuration file: every fault at once and in its place, secrets never shown, the example valid as it stands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import SUPPORTED_REGIONS

from syncd.config.loading import Loaded, load_settings, parse_settings
from syncd.config.locate import find_config
from syncd.config.models import REGIONS
from syncd.errors import ConfigError, Fault, UsageError

HERE = Path(__file__).parents[2]
TEN_FAULTS = """\
databse: sqlite:///x.db
server: {listen: nonsense, public_url: http://example.com}
region: vietnam
timezone: Mars/Olympus
live_within: 5
channels: {email: {recieved: true}, mail: {received: true}}
sources:
  inbox: {type: imap, hst: imap.example.com, username: u, password: p}
  calls: {type: twillio}
destinations:
  crm: {type: salesforce, quota: 600%}
retry: {schedule: [0s, soon], jitter: 20}
"""


def parse(text: str, env: dict[str, str] | None = None, *, need_secrets: bool = True) -> Loaded:
    return parse_settings(text, Path("config.yaml"), env or {}, need_secrets=need_secrets)


def faults(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env)
    return [str(fault) for fault in caught.value.faults]


def test_a_text_of_the_wrong_form_comes_with_what_the_key_is() -> None:
    contacts = "{type: google_contacts, account: sales, auth: {client_id: x}}"
    assert faults(f"sources:\n  s: {contacts}\n  b: {{type: brevo, password: p, soft_bounces: 3}}") == [
        "config.yaml:2:30 sources.s.account: must match ^[^@\\s/]+@[^@\\s/]+$"
        " (the user's address at Google, such as sales@example.com)",
        "config.yaml:3:33 sources.b.soft_bounces: must be true or false",
    ]


def test_every_fault_is_said_at_once_where_it_stands() -> None:
    assert faults(TEN_FAULTS) == [
        "config.yaml:1:1 databse: unknown key (did you mean database?)",
        "config.yaml:2:10 server.listen: 'nonsense' is not host:port, for example 127.0.0.1:8420",
        "config.yaml:2:28 server.public_url: plain http:// is allowed for this machine only; use https:// for example.com",
        "config.yaml:3:1 region: 'vietnam' is not a country code of two capitals, for example VN or DE",
        "config.yaml:4:1 timezone: 'Mars/Olympus' is not a time zone name, for example Asia/Ho_Chi_Minh",
        "config.yaml:5:1 live_within: 5 has no unit; write it like 30s, 5m, 2h, 7d",
        "config.yaml:6:20 channels.email.recieved: no such switch (did you mean received?)",
        "config.yaml:6:37 channels.mail: no such channel (did you mean email?)",
        "config.yaml:8:23 sources.inbox.hst: unknown key (did you mean host?)",
        "config.yaml:9:11 sources.calls.type: no source connector of type 'twillio'; did you mean twilio?",
        "config.yaml:11:3 destinations.crm.auth: this key is required",
        "config.yaml:11:27 destinations.crm.quota: 600% is not between 0% and 100%",
        "config.yaml:12:24 retry.schedule[1]: 'soon' is not a duration; write it like 30s, 5m, 2h, 7d",
        "config.yaml:12:31 retry.jitter: 20 is not a share; write it like 20%",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "must be keys and values"),
        ("a: [\n", "config.yaml:2:1"),
        ("sources: 3\n", "sources: must be names"),
        ("sources: {x: 3}\n", "sources.x: must be keys and values"),
        ("sources: {x: {}}\n", "this key is required: type"),
        ("region: VN\nregion: DE\n", "config.yaml:2:1 region"),
        (
            "sources: {UPPER: {type: maildir, path: x}}\n",
            "config.yaml:1:11 sources.UPPER: 'UPPER': names are lower-case",
        ),
        ("region: UK\n", "region: 'UK' is not a country code; write GB"),
        ("region: XY\n", "region: 'XY' is not a country code"),
        ("retention: 99999999999999d\n", "retention: '99999999999999d' is more than a hundred years"),
        ("retry: {schedule: []}\n", "retry.schedule: must not be empty"),
        (
            "sources: {f: {type: webhook, verify: {scheme: bearer, secret: ''}}}\n",
            "sources.f.verify.secret: bearer needs a secret that is not empty",
        ),
        ("destinations: {a: {type: salesforce, auth: {client_id: ${SF}}}}\n", "(within braces put ${…} in quotes)"),
    ],
)
def test_a_broken_file_is_one_line(text: str, said: str) -> None:
    assert said in "\n".join(faults(text))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("only: [calls.missed]", "destinations.a.only: calls.missed fits no signal type; did you mean call.missed?"),
        ("only: [custom]", "destinations.a.only: custom fits no signal type"),
        ("quota: {share: 2}", "destinations.a.quota.share: 2 is not a share; write it like 20%"),
        (
            "quota: {calls: 5, credits: 5}",
            "destinations.a.quota: either units, calls or credits: an account has one unit",
        ),
    ],
)
def test_what_would_quietly_hold_everything_back_or_nothing_is_a_fault(keys: str, said: str) -> None:
    assert said in "\n".join(faults(f"destinations: {{a: {{type: database, url: 'sqlite:///./x.db', {keys}}}}}\n"))


@pytest.mark.parametrize("keys", ["only: ['*']", "only: [custom.order, 'custom.*', 'call.*']", "quota: {share: 60%}"])
def test_patterns_and_shares_that_are_right(keys: str) -> None:
    assert parse(f"destinations: {{a: {{type: database, url: 'sqlite:///./x.db', {keys}}}}}\n").settings is not None


def test_an_unset_secret_is_a_fault_for_run_and_a_note_for_check() -> None:
    text = "sources:\n  inbox: {type: imap, host: h.example, username: u, password: '${IMAP_PASSWORD}'}\n"
    assert faults(text) == ["config.yaml:2:53 sources.inbox.password: environment variable IMAP_PASSWORD is not set"]
    loaded = parse(text, need_secrets=False)
    assert [fault.key for fault in loaded.missing] == ["sources.inbox.password"]
    assert loaded.settings is not None
    settings = parse(text, {"IMAP_PASSWORD": "hunter2"}).settings
    assert settings is not None
    assert settings.sources["inbox"].connector.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_name_that_is_none_is_said_with_everything_else() -> None:
    found = faults("sources: {A b: {type: maildir, path: x}}\ntimezone: Mars/Olympus\n")
    assert [text.split(": ")[0] for text in found] == ["config.yaml:1:11 sources.A b", "config.yaml:2:1 timezone"]


def test_every_country_whose_numbers_can_be_read_is_known() -> None:
    assert frozenset(SUPPORTED_REGIONS) == REGIONS


def test_a_secret_in_clear_works_and_is_warned_of() -> None:
    loaded = parse("sources:\n  inbox: {type: imap, host: h.example, username: u, password: hunter2}\n")
    assert [str(w) for w in loaded.warnings] == [
        "config.yaml:2:53 sources.inbox.password: a secret in clear text "
        "(better ${NAME}, ${file:/path} or ${credential:NAME})"
    ]


def test_a_database_url_is_a_secret_only_with_a_password() -> None:
    assert not parse("database: sqlite:///./x.db\n").warnings
    assert parse("database: postgresql+psycopg://u:hunter2@h/db\n").warnings


def test_the_example_is_valid_without_any_environment() -> None:
    loaded = load_settings(HERE / "config.example.yaml", {}, need_secrets=False)
    assert loaded.settings is not None
    assert not loaded.warnings
    assert {fault.message for fault in loaded.missing} >= {"environment variable IMAP_PASSWORD is not set"}
    assert loaded.settings.switch("email.received") is True
    assert loaded.settings.switch("ticket.overdue") == ("lead", "contact")
    assert loaded.settings.switch("facebook.liked") is False
    assert loaded.settings.switch("custom.anything") is True


def test_what_is_not_listed_is_off() -> None:
    settings = parse("channels: {email: {received: true}}\n").settings
    assert settings is not None
    assert settings.switch("email.received") is True
    assert settings.switch("call.missed") is False
    assert settings.switch("custom.x") is False


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="syncd init"):
        find_config(None, {}, tmp_path)
    (tmp_path / "config.yaml").touch()
    assert find_config(None, {}, tmp_path) == tmp_path / "config.yaml"
    (tmp_path / "other.yaml").touch()
    assert find_config(None, {"SYNCD_CONFIG": "other.yaml"}, tmp_path) == tmp_path / "other.yaml"
    with pytest.raises(UsageError, match=r"no configuration file at gone\.yaml"):
        find_config("gone.yaml", {}, tmp_path)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_settings(path, {})
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path, {})


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = ("sources", "destinations", "channels", "server", "retry", "exclude", "live_within", "region", "database")


@given(st.dictionaries(st.sampled_from(sections), json_like, max_size=3))
def test_whatever_stands_there_only_faults_come_out(data: dict[str, object]) -> None:
    import json

    found: tuple[Fault, ...] = ()
    try:
        parse(json.dumps(data))
    except ConfigError as error:
        found = error.faults
    assert all("\n" not in str(fault) for fault in found)


def test_a_key_is_called_as_yaml_has_it(tmp_path: Path) -> None:
    """`as` cannot be the name of an attribute, and nobody needs to know."""
    path = tmp_path / "config.yaml"
    path.write_text("sources: {lists: {type: file, path: 'x/*.csv', az: contact}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_settings(path)
    told = str(refused.value)
    assert "sources.lists.as: this key is required" in told
    assert "kind" not in told


def test_a_chatwoot_that_could_read_and_verify_nothing() -> None:
    source = "sources: {s: {type: chatwoot, account: '17'%s}}"
    assert faults(source % "") == [
        "config.yaml:1:11 sources.s: set token, secret or path_secret: without one, nothing can be read"
        " and no webhook is authentic"
    ]
    assert parse(source % ", secret: abc").settings
