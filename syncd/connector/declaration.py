"""What a connector declares about itself, its settings, and what the daemon lends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from syncd.connector.destination import Destination
from syncd.connector.source import PollingSource, WebhookSource
from syncd.http.limits import SourceLimits
from syncd.http.lockout import LoginBackoff
from syncd.runtime.known_secrets import learn_settings
from syncd.signal_types import NEWER, Direction

if TYPE_CHECKING:
    from syncd.http.oauth import TokenStore

CONTRACT = 2
"""The version of this contract. A connector states the one that it was written for; another one is refused at load."""

CHANGES: Mapping[int, str] = {
    2: "a connector declares `contract` and `role`, and `build` returns an object with exactly the methods that its "
    "settings allow (`unable` says why one is missing)",
}
"""What each version of the contract changed for the author of a connector."""

Role = Literal["source", "destination"]
Source = PollingSource | WebhookSource
"""What `build` of a source returns: it is read on schedule, or called, or both; the other protocols are optional."""


class Ability(StrEnum):
    """What a connector can do, by the names that `syncd connectors NAME` shows."""

    POLL = "poll"
    WEBHOOK = "webhook"
    FETCH = "fetch"
    BACKFILL = "backfill"
    WAIT = "wait"
    SUBSCRIBE = "subscribe"
    ONLINE_CHECK = "online check"
    SIGN_IN = "sign-in"
    DESCRIBE = "describe"
    PREPARE = "prepare"
    READ_FIELDS = "read fields"
    LISTS = "lists"
    OWNERS = "owners"
    NOTIFY = "notify"
    CONVERT = "convert"
    OBSERVERS = "observers"


def webhooks_alone(why: str, *more: Ability) -> dict[Ability, str]:
    """What `Connector.unable` returns for settings that do not let the source call its vendor: every ability that a source has by
    the vendor's API, and `more`. `why` names the key that is missing."""
    by_api = (Ability.POLL, Ability.FETCH, Ability.BACKFILL, Ability.SUBSCRIBE, Ability.ONLINE_CHECK)
    return dict.fromkeys((*by_api, *more), why)


class ConnectorSettings(BaseModel):
    """Base of a connector's typed keys (all but the common ones: `type`, `poll`/`cron`, `mapping`, `only`, `quota`,
    `doubt`, which syncd reads itself). Unknown keys are faults; field descriptions become the docs. Secrets are
    `pydantic.SecretStr`; durations `syncd.durations.Duration` (accepts `30s 5m 2h 7d`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True)

    def model_post_init(self, context: Any, /) -> None:
        learn_settings(self)


@dataclass(frozen=True)
class Prompt:
    """Marks an optional key that `syncd init` asks for all the same, in `Annotated`; required keys are asked for anyway.
    `when`/`unless`: only with these values of keys beside it. `suggest`: what Enter means."""

    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suggest: str = ""


S = TypeVar("S", bound=ConnectorSettings)
Built_co = TypeVar("Built_co", bound=Source | Destination, covariant=True)


@dataclass(frozen=True)
class SignalSpec:
    """What a source makes, for the docs and for `syncd connectors`: the signal type, what its id is made of by each
    route ("webhook: CallSid; poll: sid"), and whether a backfill can fetch it.

    A type of the connector's own (neither shipped with syncd nor `custom.NAME`) also names its `channel`, its `switch` there
    and its `title` for users ("Ping received"); `direction` is out for what we do. It is known in `channels:`, mappings and
    commands as soon as a source of this connector is configured."""

    type: str
    key: str
    backfill: bool
    channel: str = ""
    switch: str = ""
    title: str = ""
    direction: Direction = Direction.IN


@dataclass(frozen=True)
class Connector(Generic[S, Built_co]):
    """The declaration of one connector; `name` is its `type:` in YAML. `build(settings, context)` must do no I/O; what it
    returns has the methods of exactly those protocols that these settings allow.

    `contract`: the version of this contract that it was written for, as a number. `role`: as its entry point says.
    `unit`: what the vendor counts its allowance in, if a source keeps within `Context.limits`: it takes `quota:` then.
    `unable(settings)`: ability -> why these settings lack it and which key gives it, in one line. Pure.
    `makes(settings, switches)`: the signal types that these settings make, () if they do not tell. Pure. `switches`: as in
    `Context`."""

    name: str
    summary: str
    settings: type[S]
    build: Callable[[S, Context], Built_co]
    signals: tuple[SignalSpec, ...] = ()
    secrets_note: str = ""
    unit: str = ""
    contract: int = 1
    role: Role | None = None
    unable: Callable[[S], Mapping[Ability, str]] | None = None
    makes: Callable[[S, frozenset[str]], tuple[str, ...]] | None = None


def _no_memory(keys: Sequence[str]) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Context:
    """What the daemon lends a connector. `recall(keys)` reads the connector's own committed `Batch.remember`, `Reply.remember`
    and `Subscribed.remember` values (absent keys are absent in the answer). `webhook_url` is the public URL of this source's
    endpoint, "" if none is configured. `region` is ISO 3166 alpha-2 or None. `directory`: where the configuration file is;
    `beside` anchors the paths in its keys there. `refusals`: whoever signs in with a secret that hosts lock accounts over asks
    it around each try. `limits`: how much a source may call its vendor, by its `quota:`, over all machines. `switches`: which
    of the signal types NEWER (`syncd.signal_types`) the configuration's `channels:` names."""

    name: str
    tokens: TokenStore
    region: str | None = None
    timezone: ZoneInfo = ZoneInfo("UTC")
    webhook_url: str = ""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    directory: Path = Path()
    recall: Callable[[Sequence[str]], dict[str, str]] = _no_memory
    refusals: LoginBackoff = field(default_factory=LoginBackoff)
    limits: SourceLimits = field(default_factory=SourceLimits)
    switches: frozenset[str] = NEWER

    def beside(self, path: Path) -> Path:
        """A path of the settings, made absolute from where the configuration file is; `~` is the user's home."""
        return (self.directory / path.expanduser()).absolute()
