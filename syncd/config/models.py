"""The shape of the one YAML file. `syncd.config.loading` reads it with positions, secrets and all faults at once.

Everything that needs a setting imports these models; they are frozen and hold no live object.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    field_validator,
    model_validator,
)

from syncd import registry
from syncd.config.cron import parse_cron
from syncd.durations import Duration, format_duration
from syncd.http.client import check_base_url
from syncd.identity.identities import normal_identity
from syncd.runtime.known_secrets import learn_settings
from syncd.signal_types import CUSTOM, CUSTOM_PREFIX, NEWER, known_types, place_of
from syncd.signals import Exclusions

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NAMING = "names are lower-case letters, digits, '.', '_' and '-'"

_REGIONS = (
    "AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ CA "
    "CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR "
    "GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP "
    "KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR "
    "MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PR PS PT PW PY QA RE RO "
    "RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TG TH TJ TK TL TM TN TO TR TT "
    "TV TW TZ UA UG US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
)
REGIONS = frozenset(_REGIONS.split())
"""The countries whose phone numbers can be read. A copy: the tables themselves take 25 MB that not every process needs."""

SHORTEST_POLL = timedelta(milliseconds=100)

Group = Literal["lead", "contact", "deal", "account"]
Switch = bool | tuple[Group, ...]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ServerSettings(Model):
    listen: Annotated[str, Field(description="host:port the daemon listens on")] = "127.0.0.1:8420"
    public_url: Annotated[str, Field(description="how the vendors reach it, without a path")] = ""
    max_body: Annotated[int, Field(description="largest webhook body in bytes", ge=1024)] = 5_000_000
    max_waiting: Annotated[int, Field(description="webhooks waiting for a commit before 503", ge=1)] = 2000

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not is_host(host) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(
                f"{value!r} is not host:port, for example 127.0.0.1:8420"
                + (", or [::1]:8420 for IPv6" if value.count(":") > 1 else "")
            )
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        return check_base_url(value) if value else ""

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?")


def is_host(text: str) -> bool:
    """A host name, an IPv4 address, or an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        with suppress(ValueError):
            return IPv6Address(text[1:-1]) is not None
        return False
    if re.fullmatch(r"[0-9.]+", text):
        with suppress(ValueError):
            return IPv4Address(text) is not None
        return False
    return _HOST.fullmatch(text) is not None


_WILD = re.compile(r"[*?\[\]]")


def _domain(text: str) -> str:
    """A pattern would match no person, and without an error that would go unnoticed."""
    bare = text.strip().lstrip("@*.")
    if "@" in bare:
        raise ValueError(f"{text!r} is not a domain; list email addresses under `exclude.addresses`")
    if _WILD.search(bare) or not bare:
        raise ValueError(f"{text!r}: patterns are not supported; name each domain, such as example.com")
    if _WILD.search(text) or text.strip().startswith("."):
        raise ValueError(f"{text!r}: a domain stands for its subdomains too; write {bare}")
    return text


def _address(text: str) -> str:
    name, at, domain = text.strip().rpartition("@")
    if not at or (name in ("", "*") and not _WILD.search(domain)):
        raise ValueError(f"{text!r} is not an email address; to exclude the whole domain, write {domain} under domains")
    if _WILD.search(text):
        raise ValueError(f"{text!r}: patterns are not supported; name each address, or a whole domain under domains")
    return text


def _identity(text: str) -> str:
    if not (found := normal_identity(text)):
        raise ValueError(f"{text!r} is not an identity; write it like phone:+84912345678 or handle:facebook:22334")
    return found


class Exclude(Model):
    domains: Annotated[
        tuple[Annotated[str, AfterValidator(_domain)], ...],
        Field(description="domains (and subdomains) that are never customers"),
    ] = ()
    addresses: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...], Field(description="addresses that are never customers")
    ] = ()

    identities: Annotated[
        tuple[Annotated[str, AfterValidator(_identity)], ...],
        Field(description="other identities that are never customers: phone:+84912345678, handle:facebook:22334"),
    ] = ()

    def exclusions(self) -> Exclusions:
        return Exclusions.of(self.domains, self.addresses, self.identities)


class Retry(Model):
    schedule: Annotated[
        tuple[Duration, ...], Field(min_length=1, description="wait before each try; after the last, dead")
    ] = (
        timedelta(0),
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=10),
    )
    jitter: Annotated[
        str | float, Field(description="added at random on top, as a share of the wait", validate_default=True)
    ] = "20%"

    @field_validator("jitter")
    @classmethod
    def _jitter(cls, value: str | float) -> float:
        return parse_share(value)


def parse_share(value: str | float) -> float:
    """`"20%"` or 0.2 -> 0.2. Raises ValueError outside 0..100 %."""
    if isinstance(value, str):
        number = value.strip().removesuffix("%")
        if not value.strip().endswith("%") or not re.fullmatch(r"\d+(\.\d+)?", number):
            raise ValueError(f"{value!r} is not a share; write it like 20%")
        value = float(number) / 100
    elif value > 1:
        raise ValueError(f"{value:g} is not a share; write it like 20%")
    if not 0 <= value <= 1:
        raise ValueError(f"{value:.0%} is not between 0% and 100%")
    return float(value)


class Quota(Model):
    """At most this much of the vendor's daily allowance: a share, or an absolute number in its own unit."""

    share: Annotated[float | None, Field(description="a share of the account's allowance; short: `quota: 60%`")] = None
    units: Annotated[
        int | None, Field(ge=1, description="at most so many in 24 hours of what the vendor counts: API calls, credits")
    ] = None
    calls: Annotated[int | None, Field(ge=1, description="the same, where the vendor counts API calls")] = None
    credits: Annotated[int | None, Field(ge=1, description="the same, where the vendor counts credits")] = None
    keep: Annotated[
        int | None, Field(ge=0, description="so many of the account's units are left to others; default: 5%")
    ] = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Editors shall know the short form too."""
        return {"anyOf": [handler(core), {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"}]}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"share": parse_share(value)} if isinstance(value, (str, float)) else value

    @field_validator("share", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return parse_share(value) if isinstance(value, (str, int, float)) else value

    @model_validator(mode="after")
    def _one_unit(self) -> Quota:
        if sum(number is not None for number in (self.units, self.calls, self.credits)) > 1:
            raise ValueError("either units, calls or credits: an account has one unit")
        return self

    @property
    def absolute(self) -> int | None:
        return self.units or self.calls or self.credits


class SourceSettings(BaseModel):
    """One entry of `sources:`. `connector` holds the connector's own keys as its typed settings model."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str
    type: Annotated[str, Field(description="the connector: see `syncd connectors`")]
    poll: Annotated[
        Duration | None, Field(description="how often it is read; without poll: and cron: every 5 minutes")
    ] = None
    endpoint: Annotated[
        str | None, Field(description="the sources that name it share the address /webhooks/ENDPOINT; default: its own")
    ] = None
    cron: Annotated[
        str | None, Field(description="when it is read, as a crontab line in `timezone`, instead of poll:")
    ] = None
    quota: Annotated[
        Quota | None, Field(description="how much of the account's daily allowance it may use: {units: N, keep: N}")
    ] = None
    connector: Any = None

    @field_validator("quota")
    @classmethod
    def _quota(cls, value: Quota | None) -> Quota | None:
        if value is not None and value.share is not None:
            raise ValueError("a source's quota is a number: quota: {units: 2000} or quota: {keep: 500}")
        return value

    @field_validator("poll")
    @classmethod
    def _poll(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < SHORTEST_POLL:
            raise ValueError(
                f"{format_duration(value)} is too often: at least 100ms; for most sources 1m to 5m will do"
            )
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            parse_cron(value)
        return value


LONGEST_GATHER = timedelta(seconds=60)


class DestinationSettings(BaseModel):
    """One entry of `destinations:`. `mapping` is the name as written; `connector` the typed settings model."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str
    type: Annotated[str, Field(description="the connector: see `syncd connectors`")]
    mapping: Annotated[
        str | None,
        Field(description="mapping file, beside this file or one that comes with syncd; default: mappings/TYPE.yaml"),
    ] = None
    only: Annotated[tuple[str, ...], Field(description="signal types that go there; * stands for anything")] = ("*",)
    quota: Annotated[
        Quota | None, Field(description="at most this much of the account's daily allowance; default: all but 5%")
    ] = None
    doubt: Annotated[
        Duration | None,
        Field(description="how long a call without an answer may still be at work there; default: the connector's"),
    ] = None
    gather: Annotated[
        Literal["auto"] | Duration,
        Field(
            description="how long a signal may wait for others to be sent with it, 0s to 60s; auto: not at all while the "
            "allowance lasts ten days at today's rate, longer as it gets scarce"
        ),
    ] = "auto"
    gather_urgent: Annotated[
        Duration, Field(description="the longest such wait of what calls a user to action (rules with `live_only`)")
    ] = timedelta(seconds=2)
    kinds: Annotated[
        dict[str, Literal["upsert", "unique", "findable", "at_most_once"]],
        Field(description="object -> kind of write, where you know better than the connector's table"),
    ] = {}
    connector: Any = None

    @field_validator("gather", "gather_urgent")
    @classmethod
    def _at_most_a_minute(cls, value: Literal["auto"] | timedelta) -> Literal["auto"] | timedelta:
        if isinstance(value, timedelta) and not timedelta(0) <= value <= LONGEST_GATHER:
            raise ValueError("must be 0s to 60s: a signal that waits longer is late")
        return value

    @field_validator("only")
    @classmethod
    def _only(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not pattern.startswith(CUSTOM_PREFIX) and not registry.fitting_types(pattern):
                near = difflib.get_close_matches(pattern, known_types(), n=1)
                raise ValueError(f"{pattern} fits no signal type" + (f"; did you mean {near[0]}?" if near else ""))
        return value


class Settings(BaseModel):
    """The whole configuration, valid. `channels` maps channel -> switch -> on, off or from whom."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def model_post_init(self, context: Any, /) -> None:
        learn_settings(self)

    database: Annotated[
        SecretStr, Field(description="sqlite:///FILE (beside this file), or postgresql+psycopg://USER@HOST/NAME")
    ] = SecretStr("sqlite:///./syncd.db")
    server: Annotated[ServerSettings, Field(description="where syncd listens")] = ServerSettings()
    region: Annotated[
        str | None,
        Field(
            description="your country, as two capitals (VN): for numbers without one, order of names, encoding of lists"
        ),
    ] = None
    timezone: Annotated[str, Field(description="of dates in records, of cron lines and of what commands print")] = "UTC"
    secret_key: Annotated[
        SecretStr | None,
        Field(description="encrypts stored tokens; with SQLite a file beside the database is made when absent"),
    ] = None
    live_within: Annotated[
        Duration, Field(description="older signals write their records but create no tasks or other calls to action")
    ] = timedelta(hours=24)
    retention: Annotated[
        Duration, Field(description="how long settled signals are kept; their ids stay, so a late repeat is known")
    ] = timedelta(days=180)
    exclude: Annotated[Exclude, Field(description="who is never a customer")] = Exclude()
    channels: Annotated[dict[str, dict[str, Switch]], Field(description="the switches; what is not listed is off")] = {}
    sources: Annotated[dict[str, SourceSettings], Field(description="where signals come from, each by its name")] = {}
    destinations: Annotated[
        dict[str, DestinationSettings], Field(description="where records go, each by its name")
    ] = {}
    retry: Annotated[Retry, Field(description="how a failed write is tried again")] = Retry()

    @field_validator("region")
    @classmethod
    def _region(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z]{2}", value):
            raise ValueError(f"{value!r} is not a country code of two capitals, for example VN or DE")
        if value is not None and value not in REGIONS:
            raise ValueError(f"{value!r} is not a country code" + ("; write GB" if value == "UK" else ""))
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not a time zone name, for example Asia/Ho_Chi_Minh")
        return value

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: dict[str, dict[str, Switch]]) -> dict[str, dict[str, Switch]]:
        for channel, switches in value.items():
            if channel == CUSTOM:
                continue
            if channel not in registry.catalogue_for(channel):
                raise ValueError(f"there is no channel {channel!r}")
            for switch in switches:
                if switch not in registry.catalogue_for(channel, switch)[channel]:
                    raise ValueError(f"channel {channel!r} has no switch {switch!r}")
        return value

    @model_validator(mode="after")
    def _named(self) -> Self:
        shared = [entry.endpoint for entry in self.sources.values() if entry.endpoint is not None]
        for name in (*self.sources, *self.destinations, *shared):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r}: {NAMING}")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def switch(self, signal_type: str) -> Switch:
        """Whether signals of this type are wanted: True, False, or the groups they are wanted from. Not listed: off."""
        channel, switch = place_of(signal_type)
        switches = self.channels.get(channel, {})
        return switches.get(switch, switches.get("*", False))

    @property
    def newer_types(self) -> frozenset[str]:
        """The signal types of NEWER whose switch `channels:` names."""
        places = {kind: place_of(kind) for kind in NEWER}
        return frozenset(kind for kind, (channel, switch) in places.items() if switch in self.channels.get(channel, {}))

    def webhook_url(self, source: str) -> str:
        """The public URL of a source's endpoint, "" when `public_url` is not set."""
        entry = self.sources.get(source)
        last = (entry.endpoint if entry is not None else None) or source
        return f"{self.server.public_url}/webhooks/{last}" if self.server.public_url else ""
