"""Makes the fields that a mapping needs and a CRM lacks: what `prepare` does in every CRM. Asked twice it makes nothing twice;
what the CRM refuses becomes the clicks for the operator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from syncd.capabilities import FieldDescription, MissingField, PrepareResult
from syncd.errors import Ambiguous, Failure, Misconfigured, QuotaExhausted, Rejected, StaleReference, Transient

Known = Mapping[str, Sequence[FieldDescription]]
"""Object -> its fields, of those that our user sees."""
SEVERAL = "several"
"""`MissingField.type` of a field that is made by hand (`several_by_hand`): it takes several of the values that it lists."""
Answer = TypeVar("Answer")
REFUSALS = (Misconfigured, Rejected, StaleReference, Transient)


class NotMade(NamedTuple):
    """Why a request that makes something did not. `failure`: of the call, None where the vendor's answer says it."""

    why: str
    code: str = ""
    failure: Failure | None = None

    @property
    def lost(self) -> bool:
        """Whether it may be done, and only the answer is missing."""
        return isinstance(self.failure, Ambiguous)


def attempt(
    request: Callable[[], Answer], *, full: Callable[[QuotaExhausted], bool] = lambda _: False
) -> Answer | NotMade:
    """The answer of a request that makes something, or why it was refused. Raises failures that a retry may resolve (throttled,
    the day's calls, sign-in). `full`: whether an exhausted allowance is one that does not come back by itself."""
    try:
        return request()
    except Ambiguous as lost:
        return NotMade(f"no answer ({lost}); run the command again, it will see whether it was done", lost.code, lost)
    except QuotaExhausted as refused:
        if not full(refused):
            raise
        return NotMade(str(refused), refused.code, refused)
    except REFUSALS as refused:
        if isinstance(refused, Transient) and refused.known:
            raise
        return NotMade(str(refused), refused.code, refused)


def several_by_hand(need: MissingField, clicks: str) -> str:
    """How an operator makes a field with several values. `clicks`: on which screen, up to the values."""
    values = ", ".join(need.values) or "those that the mapping makes"
    return (
        f"{need.object}.{need.field} is not there; syncd does not make fields with several values. Correct the name, or make "
        f"it by hand: {clicks}, values: {values}"
    )


class FieldMaker(ABC):
    """One run over one account."""

    folds_case = False

    @abstractmethod
    def describe(self, objects: Sequence[str]) -> Known:
        """The fields of these objects, as `Describes.describe`."""

    @abstractmethod
    def unmakeable(self, need: MissingField, known: Known) -> str:
        """Why it cannot be made at all, and what to do instead; "" when it can."""

    @abstractmethod
    def planned(self, need: MissingField) -> str:
        """What would be made."""

    @abstractmethod
    def make(self, need: MissingField) -> PrepareResult:
        """Makes it, or says how an operator does."""

    def prepare(self, needs: Sequence[MissingField], *, dry: bool) -> Iterator[PrepareResult]:
        """One step a need, in their order."""
        known = self.describe(list(dict.fromkeys(need.object for need in needs)))
        for need in needs:
            wrong = self.unmakeable(need, known)
            if wrong:
                yield PrepareResult(need, False, wrong, by_hand=True)
            elif self.has(known, need):
                yield PrepareResult(need, True, f"{need.object}.{need.field} is there")
            elif dry:
                yield PrepareResult(need, False, f"would make {self.planned(need)}")
            else:
                yield self.make(need)

    def has(self, known: Known, need: MissingField) -> bool:
        """Whether our user sees the field."""
        names = {one.name.lower() if self.folds_case else one.name for one in known.get(need.object, ())}
        return (need.field.lower() if self.folds_case else need.field) in names

    def there(self, need: MissingField) -> bool:
        """`has`, asked now."""
        return self.has(self.describe([need.object]), need)
