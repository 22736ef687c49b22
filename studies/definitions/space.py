"""The search space: a range, a fixed number or names to choose from for each hyperparameter."""

import dataclasses
import difflib
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from klsearch.vae.hyperparameters import CHOICES, NAMES, RULES, UNBOUNDED, WHOLE, Choice, Hyperparameters, Rule

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
    def _check_order(self) -> Self:
        if self.low >= self.high:
            raise problem("low must lie below high, but {low} >= {high}", low=self.low, high=self.high)
        if self.log and self.low <= 0:
            raise problem("a log range must start above 0, but low is {low}", low=self.low)
        if not self.log and math.isinf(self.high - self.low):
            raise problem("low and high lie too far apart for floating-point numbers; give a narrower range")
        return self


class IntegerRange(Range):
    """A range of whole numbers."""

    low: int
    high: int
    integer: ClassVar[bool] = True


Options = tuple[str, ...]
"""The names from which a search chooses."""


def _kind(value: Any) -> str:
    return RANGE_TAG if isinstance(value, dict | Range) else NUMBER_TAG


def check_rule(rule: Rule) -> AfterValidator:
    """A check that a number, or both ends of a range, keep a hyperparameter's rule."""

    def check(value: Any) -> Any:
        ends = {"low ": value.low, "high ": value.high} if isinstance(value, Range) else {"": value}
        for end, number in ends.items():
            if not rule.allows(number):
                raise problem("{end}must be {rule}, but is {number}", end=end, rule=rule.words, number=number)
        return value

    return AfterValidator(check)


def _check_options(choice: Choice) -> AfterValidator:
    """A check that names are options of a choice, two at least, each once."""

    def check(names: Options) -> Options:
        if unknown := next((name for name in names if name not in choice.options), None):
            known = ", ".join(map(repr, choice.options))
            near = difflib.get_close_matches(unknown, choice.options, n=1)
            meant = f", did you mean '{near[0]}'?" if near else ""
            raise problem(
                "must hold some of {known}, but holds '{unknown}'{meant}", known=known, unknown=unknown, meant=meant
            )
        if len(set(names)) < len(names) or len(names) < 2:
            raise problem("must hold at least two names, each once; one for all trials belongs in [training]")
        return names

    return AfterValidator(check)


def _check_array(choice: Choice) -> BeforeValidator:
    """A check that names to choose from stand in an array; one alone belongs elsewhere."""
    such = ", ".join(f'"{name}"' for name in choice.options[:2])

    def check(value: Any) -> Any:
        if isinstance(value, str):
            text = "must be an array of names to choose from; '{name}' for all trials belongs in [training]"
            raise problem(text, name=value)
        if not isinstance(value, list | tuple):
            raise problem("must be an array of names to choose from, such as [{such}]", such=such)
        return value

    return BeforeValidator(check)


def refuse_nan(value: Any) -> Any:
    """A check that a number is one; infinity may stand for "no bound"."""
    if isinstance(value, float) and math.isnan(value):
        raise problem("must be a number, but is nan")
    return value


_FREE_TO_SEARCH = Discriminator(_kind)
_Number = Annotated[Annotated[Range, Tag(RANGE_TAG)] | Annotated[float, Tag(NUMBER_TAG)], _FREE_TO_SEARCH]
_Whole = Annotated[Annotated[IntegerRange, Tag(RANGE_TAG)] | Annotated[int, Tag(NUMBER_TAG)], _FREE_TO_SEARCH]
UNBOUNDED_NUMBER: Any = Annotated[float, Field(allow_inf_nan=True), AfterValidator(refuse_nan)]
"""A number that may be infinite, which stands for no bound."""
_Bound = Annotated[Annotated[Range, Tag(RANGE_TAG)] | Annotated[UNBOUNDED_NUMBER, Tag(NUMBER_TAG)], _FREE_TO_SEARCH]


def _kind_of(name: str) -> Any:
    """The type of a hyperparameter in `[space]`: a range to search, or a fixed number."""
    if RULES[name].in_training:
        return Range
    return _Whole if name in WHOLE else _Bound if name in UNBOUNDED else _Number


def _space_field(declared: dataclasses.Field[Any]) -> Any:
    """A hyperparameter's type and default, as pydantic takes them."""
    if declared.name in CHOICES:
        choice = CHOICES[declared.name]
        names = Annotated[Options, Field(strict=False), _check_options(choice), _check_array(choice)]
        return names | None, None
    name, kind = declared.name, Annotated[_kind_of(declared.name), check_rule(RULES[declared.name])]
    if RULES[name].in_training:
        return kind | None, None
    return kind, ... if declared.default is dataclasses.MISSING else declared.default


_Hyperparameters: Any = create_model(
    "_Hyperparameters", __base__=Section, **{one.name: _space_field(one) for one in dataclasses.fields(Hyperparameters)}
)


class Space(_Hyperparameters):  # type: ignore[misc] # its fields are those of `Hyperparameters`
    """The search space: each hyperparameter a range to search or a fixed number, or names to choose from.

    One left out is off: no clipping, full KL weight from the start, no L2, no dropout. Learning rate, gradient clipping
    and the KL schedule, when left out, are the ones of `[training]`; they appear here only to be searched.
    """

    @model_validator(mode="after")
    def _check_searchable(self) -> Self:
        found: list[tuple[tuple[str, ...], str]] = []
        highest, lowest = highest_of(self.clip_low), lowest_of(self.clip_high)
        if highest >= lowest:
            text = f"must lie below clip_high everywhere, but reaches {highest:g} where clip_high can be {lowest:g}"
            found.append((("clip_low",), text))
        if self.kl_schedule is not None and highest_of(self.annealing_epochs) == 0:
            text = "has no effect without annealing; give annealing_epochs a range, or a number above 0"
            found.append((("kl_schedule",), text))
        if not self.searched():
            found.append(((), "nothing is searched; give at least one hyperparameter a range {low = …, high = …}"))
        if found:
            raise problems_at("space", found)
        return self

    def searched(self) -> dict[str, Range]:
        """The ranges by hyperparameter, in the order of `vae.hyperparameters.NAMES`."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in values.items() if isinstance(value, Range)}

    def choices(self) -> dict[str, Options]:
        """The names to choose from by hyperparameter."""
        values = {name: getattr(self, name) for name in CHOICES}
        return {name: value for name, value in values.items() if value is not None}

    def sampled(self) -> dict[str, Range | Options]:
        """All that is searched, by hyperparameter: the ranges, then the choices."""
        return {**self.searched(), **self.choices()}

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
