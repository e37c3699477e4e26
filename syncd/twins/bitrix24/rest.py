"""One REST call as the methods of the Bitrix24 twin see it, what they answer, and how they refuse.

Used by every module of the twin that has methods. Methods of the newer API take camelCase parameters as they are; the older ones
(im, user, crm.timeline, crm.activity) take them in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.wire import TwinResponse

PAGE = 50
"""Rows of a list; the size is fixed."""
NO_COUNT = -1
"""`start` of a list that neither counts nor pages."""


class Bitrix24Error(Exception):
    """A refusal: {"error": code, "error_description": text} with the HTTP status; inside a batch the status does not show."""

    def __init__(self, code: str, description: str = "", status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status

    def body(self) -> dict[str, Any]:
        return {"error": self.code, "error_description": self.description}

    def answer(self) -> TwinResponse:
        return TwinResponse(self.status, self.body())


@dataclass(frozen=True)
class RestAnswer:
    """The result of a method, and where the list goes on. `total` None: not a list, or not counted."""

    result: Any
    total: int | None = None
    next: int | None = None

    def around(self) -> dict[str, Any]:
        """What stands beside `result`."""
        pages = {"next": self.next, "total": self.total}
        return {name: value for name, value in pages.items() if value is not None}


@dataclass
class RestCall:
    """A method called by a user. `fields` of a row fault are matched against the parameter `fields`."""

    user: int
    scopes: frozenset[str]
    params: dict[str, Any]
    app: bool = False
    _upper: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._upper = {name.upper(): value for name, value in self.params.items()}

    def any_case(self, name: str) -> Any:
        """A parameter of an older method; None when it is missing."""
        return self._upper.get(name.upper())

    def need(self, name: str) -> Any:
        """A parameter of a newer method. Raises Bitrix24Error (code 100) when it is missing."""
        if self.params.get(name) is None:
            raise Bitrix24Error("100", f"Could not find value for parameter {{{name}}}")
        return self.params[name]

    def number(self, name: str) -> int:
        """A whole number that a newer method needs."""
        given = self.need(name)
        found = as_int(given)
        if found is None:
            raise Bitrix24Error(
                "100", f"Invalid value {{{given}}} to match with parameter {{{name}}}. Should be value of type int."
            )
        return found

    def array(self, name: str, needed: bool = True) -> Any:
        """A map or list that a newer method takes; {} when it is missing and not needed."""
        given = self.need(name) if needed else self.params.get(name)
        if given in (None, "") and not needed:
            return {}
        if not isinstance(given, dict | list):
            raise Bitrix24Error(
                "100", f"Invalid value {{{given}}} to match with parameter {{{name}}}. Should be value of type array."
            )
        return given

    def mapping(self, name: str, needed: bool = True) -> dict[str, Any]:
        """The same, by key."""
        return dict(phpdata.entries(self.array(name, needed)))

    @property
    def start(self) -> int:
        return as_int(self.any_case("start")) or 0


Act = Callable[["Any", RestCall], RestAnswer]


@dataclass(frozen=True)
class RestMethod:
    """A method: what it does with a portal, the scopes of which it takes one, and how long it runs (seconds of `operating`)."""

    act: Act
    scopes: tuple[str, ...] = ()
    seconds: float = 0.02


def as_int(value: Any) -> int | None:
    """A whole number, also from text; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.lstrip("-").isdigit() and text.count("-") <= 1 else None


def page(rows: list[Any], start: int, result: Callable[[list[Any]], Any] = lambda rows: rows) -> RestAnswer:
    """One page of a list, counted unless `start` says not to."""
    if start == NO_COUNT:
        return RestAnswer(result(rows[:PAGE]))
    cut = rows[max(0, start) : max(0, start) + PAGE]
    more = max(0, start) + PAGE
    return RestAnswer(result(cut), len(rows), more if more < len(rows) else None)


def truth(value: Any) -> bool:
    """What PHP forms and JSON send for yes."""
    return value is True or value == 1 or str(value).strip().upper() in ("1", "Y", "TRUE")


def upper_keys(value: Any) -> dict[str, Any]:
    """A map of an older method with its keys in upper case."""
    return {key.upper(): each for key, each in phpdata.entries(value)}


def sorted_rows(
    rows: list[dict[str, Any]], order: Mapping[str, Any], key: Callable[[Any], Any]
) -> list[dict[str, Any]]:
    """Rows in the order {field: ASC|DESC}, the first field first."""
    for name, direction in reversed(list(order.items())):
        rows = sorted(rows, key=lambda row: key(row.get(name)), reverse=str(direction).upper() == "DESC")
    return rows
