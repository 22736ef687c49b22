"""What is searched: a range or a fixed number for each hyperparameter."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from klsearch.vae.hyperparameters import NAMES

# Words that pydantic puts into the path of a value to say which kind it took it for; `problems` drops them.
TAGS = RANGE_TAG, NUMBER_TAG, WORD_TAG = "<range>", "<number>", "<word>"


class Section(BaseModel):
    """One table of a definition: frozen, unknown keys refused, no silent conversions ("5" is not 5)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def problem(message: str, **context: Any) -> PydanticCustomError:
    """A problem of one value, in our own words; `{name}` in the message stands for `context`'s values."""
    return PydanticCustomError("klsearch", message, context)


def problems_at(title: str, found: Sequence[tuple[tuple[str, ...], str]]) -> ValidationError:
    """Several problems of one table, each at its own path within it."""
    lines = [InitErrorDetails(type=problem("{text}", text=text), loc=path, input=None) for path, text in found]
    return ValidationError.from_exception_data(title, lines)


class Range(Section):
    """An interval to search, both ends included.

    Attributes:
        low: lower end.
        high: upper end, above `low`.
        log: whether it is searched on a logarithmic scale; needs `low` above 0.
        integer: whether only whole numbers are meant.
    """

    low: float
    high: float
    log: bool = False
    integer: ClassVar[bool] = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise problem("low must lie below high, but {low} >= {high}", low=self.low, high=self.high)
        if self.log and self.low <= 0:
            raise problem("a log range must start above 0, but low is {low}", low=self.low)
        return self


class IntegerRange(Range):
    """A range of whole numbers."""

    low: int
    high: int
    integer: ClassVar[bool] = True


def _kind(value: Any) -> str:
    return RANGE_TAG if isinstance(value, dict | Range) else NUMBER_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a hyperparameter may be: `least` or more, above it if `above`, and less than `below`."""

    least: float = -math.inf
    above: bool = False
    below: float = math.inf

    def allows(self, number: float) -> bool:
        """Whether a number keeps the rule."""
        return (number > self.least if self.above else number >= self.least) and number < self.below

    def check(self, value: Any) -> Any:
        """The number or range as it is, if it, or both its ends, keep the rule."""
        words = f"{'above' if self.above else 'at least'} {self.least:g}"
        words += f" and below {self.below:g}" if self.below < math.inf else ""
        ends = {"low ": value.low, "high ": value.high} if isinstance(value, Range) else {"": value}
        for end, number in ends.items():
            if not self.allows(number):
                raise problem("{end}must be {rule}, but is {number}", end=end, rule=words, number=number)
        return value


# A bound of z_log_var may be any number; their order is `Space`'s business.
RULES: Mapping[str, Rule] = {
    "kl_weight": Rule(least=0),
    "clip_low": Rule(),
    "clip_high": Rule(),
    "annealing_epochs": Rule(least=0),
    "l2": Rule(least=0),
    "encoder_dropout": Rule(least=0, below=1),
    "learning_rate": Rule(least=0, above=True),
    "clipnorm": Rule(least=0, above=True),
}
"""The rule of each searched hyperparameter, by name: what a definition accepts, and what advice keeps to."""


def not_nan(value: Any) -> Any:
    """A check that a number is one; infinity may stand for "no bound"."""
    if isinstance(value, float) and math.isnan(value):
        raise problem("must be a number, but is nan")
    return value


_FREE_TO_SEARCH = Discriminator(_kind)
_Number = Annotated[Annotated[Range, Tag(RANGE_TAG)] | Annotated[float, Tag(NUMBER_TAG)], _FREE_TO_SEARCH]
_Whole = Annotated[Annotated[IntegerRange, Tag(RANGE_TAG)] | Annotated[int, Tag(NUMBER_TAG)], _FREE_TO_SEARCH]
_Bound = Annotated[
    Annotated[Range, Tag(RANGE_TAG)] | Annotated[float, Field(allow_inf_nan=True), Tag(NUMBER_TAG)],
    _FREE_TO_SEARCH,
    AfterValidator(not_nan),
]


class Space(Section):
    """The search space: each hyperparameter a range to search or a fixed number.

    One left out is off: no clipping, full KL weight from the start, no L2, no dropout. Learning rate and gradient
    clipping, when left out, are the ones of `[training]`; they appear here only to be searched.
    """

    kl_weight: Annotated[_Number, AfterValidator(RULES["kl_weight"].check)]
    clip_low: _Bound = -math.inf
    clip_high: _Bound = math.inf
    annealing_epochs: Annotated[_Whole, AfterValidator(RULES["annealing_epochs"].check)] = 0
    l2: Annotated[_Number, AfterValidator(RULES["l2"].check)] = 0.0
    encoder_dropout: Annotated[_Number, AfterValidator(RULES["encoder_dropout"].check)] = 0.0
    learning_rate: Annotated[Range, AfterValidator(RULES["learning_rate"].check)] | None = None
    clipnorm: Annotated[Range, AfterValidator(RULES["clipnorm"].check)] | None = None

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        found: list[tuple[tuple[str, ...], str]] = []
        highest, lowest = highest_of(self.clip_low), lowest_of(self.clip_high)
        if highest >= lowest:
            text = f"must lie below clip_high everywhere, but reaches {highest:g} where clip_high can be {lowest:g}"
            found.append((("clip_low",), text))
        if not self.searched():
            found.append(((), "nothing is searched; give at least one hyperparameter a range {low = …, high = …}"))
        if found:
            raise problems_at("space", found)
        return self

    def searched(self) -> dict[str, Range]:
        """The ranges by hyperparameter, in the order of `vae.hyperparameters.NAMES`."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in values.items() if isinstance(value, Range)}

    def fixed(self) -> dict[str, float]:
        """The fixed numbers by hyperparameter, those left out included; what `[training]` decides is not."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in values.items() if isinstance(value, int | float)}


def lowest_of(value: Range | float) -> float:
    """The least value that a range or a fixed number can take."""
    return value.low if isinstance(value, Range) else value


def highest_of(value: Range | float) -> float:
    """The greatest value that a range or a fixed number can take."""
    return value.high if isinstance(value, Range) else value
