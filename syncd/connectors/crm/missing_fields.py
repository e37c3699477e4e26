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
    """One run over one account. `noun`: the CRM's word before an object's name; `shown`: what is done beside making a field, ""
    if all see a new one."""

    folds_case = False
    noun = ""
    shown = ""

    @abstractmethod
    def describe(self, objects: Sequence[str]) -> Known:
        """The fields of these objects, as `Describes.describe`."""

    @abstractmethod
    def form(self, need: MissingField) -> str:
        """As what kind of field it is made."""

    @abstractmethod
    def screen(self, need: MissingField) -> str:
        """Where an operator makes it: the clicks up to the new field."""

    @abstractmethod
    def by_hand(self, need: MissingField) -> str:
        """How an operator makes it: one sentence, without its full stop."""

    @abstractmethod
    def unmakeable(self, need: MissingField, known: Known) -> str:
        """Why it cannot be made at all, and what to do instead; "" when it can."""

    @abstractmethod
    def make(self, need: MissingField) -> PrepareResult:
        """Makes it, or says how an operator does."""

    def prepare(self, needs: Sequence[MissingField], *, dry: bool) -> Iterator[PrepareResult]:
        """One step a need, in their order."""
        known = self.describe(list(dict.fromkeys(need.object for need in needs)))
        for need in needs:
            absent = f"there is no {self.noun}{need.object}, or our user may not see it: correct the mapping"
            wrong = self.unmakeable(need, known) if need.object in known else absent
            if wrong:
                yield self.left(need, wrong)
            elif self.has(known, need):
                yield PrepareResult(need, True, f"{need.object}.{need.field} is there")
            elif dry:
                yield PrepareResult(need, False, f"would make {self.place(need)}: {self.form(need)}{self.shown}")
            else:
                yield self.make(need)

    def place(self, need: MissingField) -> str:
        """Where it is made, as the CRM names that."""
        return f"{need.object}.{need.field}"

    def refused(self, need: MissingField, why: str) -> PrepareResult:
        """It could not be made; an operator may."""
        return self.left(need, f"{self.place(need)} could not be made: {why}. By hand: {self.by_hand(need)}")

    def left(self, need: MissingField, text: str) -> PrepareResult:
        """What is left to an operator."""
        return PrepareResult(need, False, text, by_hand=True)

    def has(self, known: Known, need: MissingField) -> bool:
        """Whether our user sees the field."""
        names = {one.name.lower() if self.folds_case else one.name for one in known.get(need.object, ())}
        return (need.field.lower() if self.folds_case else need.field) in names

    def there(self, need: MissingField) -> bool:
        """`has`, asked now."""
        return self.has(self.describe([need.object]), need)
