"""The searched settings of one trial, none of which changes a tensor's shape, and the recipe's two sets of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The rule of one hyperparameter: what it may be and what is said of it; declared here, and followed by every room.

    Attributes:
        meaning: what it does, in one line.
        least: the least value; below it there is nothing that a range could be widened to.
        above: whether it must lie above `least`.
        below: what it must stay below.
        step: by how much a reader would change it where its range is not logarithmic; None for the whole range.
        in_training: whether `[training]` says it where it is not searched.
        seldom: whether it is left out of what is shown where nobody uses it.
    """

    meaning: str
    least: float = -math.inf
    above: bool = False
    below: float = math.inf
    step: float | None = None
    in_training: bool = False
    seldom: bool = False

    @property
    def words(self) -> str:
        """The rule as a reader would say it; empty where there is none."""
        if self.least == -math.inf:
            return ""
        upper = f" and below {self.below:g}" if self.below < math.inf else ""
        return f"{'above' if self.above else 'at least'} {self.least:g}{upper}"

    def allows(self, number: float) -> bool:
        """Tell whether a number keeps the rule."""
        below = number < self.below or self.below == math.inf
        return below and (number > self.least if self.above else number >= self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A hyperparameter that is one of some names.

    Attributes:
        meaning: what it does, in one line.
        options: the names.
    """

    meaning: str
    options: tuple[str, ...]


def _rule(**declared: Any) -> dict[str, Rule]:
    return {"rule": Rule(**declared)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One member's settings, checked when made: see `RULES` and `CHOICES` for what each means and may be.

    A default is the value at which a hyperparameter is off; infinity stands for no bound. A choice that is None is what
    `[training]` says of all members.

    Raises:
        ValueError: a value lies outside what the model can be trained with; the message names it.
    """

    kl_weight: float = field(
        metadata=_rule(meaning="full weight of the KL term in the loss, under the study's reductions", least=0)
    )
    clip_low: float = field(default=-math.inf, metadata=_rule(meaning="lower clip bound of z_log_var", step=1.0))
    clip_high: float = field(default=math.inf, metadata=_rule(meaning="upper clip bound of z_log_var", step=1.0))
    annealing_epochs: int = field(
        default=0, metadata=_rule(meaning="epochs over which the KL weight rises from 0", least=0, step=10.0)
    )
    l2: float = field(
        default=0.0,
        metadata=_rule(meaning="L2 strength on both latent heads' kernels (Keras's convention, without ½)", least=0),
    )
    encoder_dropout: float = field(
        default=0.0, metadata=_rule(meaning="dropout rate in the encoder", least=0, below=1, step=0.1)
    )
    free_bits: float = field(
        default=0.0,
        metadata=_rule(
            meaning="nats per latent below which its KL, mean over the batch, is free", least=0, seldom=True
        ),
    )
    learning_rate: float = field(
        default=1e-3, metadata=_rule(meaning="the optimizer's step size", least=0, above=True, in_training=True)
    )
    clipnorm: float = field(
        default=math.inf,
        metadata=_rule(
            meaning="largest norm of each variable's gradient (Keras's `clipnorm`)",
            least=0,
            above=True,
            in_training=True,
            seldom=True,
        ),
    )
    kl_schedule: str | None = field(
        default=None,
        metadata={
            "choice": Choice(
                meaning="shape in which the KL weight rises over the annealing epochs",
                options=("linear", "cosine", "sigmoid", "cyclical"),
            )
        },
    )

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            value = getattr(self, name)
            if math.isnan(value):
                raise ValueError(f"{name} must be a number, but is NaN.")
            if not rule.allows(value) or (math.isinf(value) and name not in UNBOUNDED):
                finite = "finite and " if rule.below == math.inf and name not in UNBOUNDED else ""
                raise ValueError(f"{name} must be {finite}{rule.words}, but is {value}.")
            if name in WHOLE and value != int(value):
                raise ValueError(f"{name} must be a whole number, but is {value}.")
        for name, choice in CHOICES.items():
            if (word := getattr(self, name)) is not None and word not in choice.options:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choice.options))}, but is {word!r}.")
        if self.clip_low >= self.clip_high:
            raise ValueError(f"clip_low must lie below clip_high, but {self.clip_low} >= {self.clip_high}.")

    def as_json(self) -> dict[str, float | int | str | None]:
        """The settings as JSON values; an absent bound is None, and a choice that is `[training]`'s is left out."""
        numbers = {name: getattr(self, name) for name in NAMES}
        chosen = {name: word for name in CHOICES if (word := getattr(self, name)) is not None}
        return {name: None if math.isinf(value) else value for name, value in numbers.items()} | chosen

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings that `as_json` wrote.

        >>> Hyperparameters.from_json(AFTER.as_json()) == AFTER
        True
        """
        bounded: dict[str, Any] = {name: UNBOUNDED[name] if value is None else value for name, value in values.items()}
        return cls(**bounded)


RULES: Mapping[str, Rule] = {
    one.name: one.metadata["rule"] for one in fields(Hyperparameters) if "rule" in one.metadata
}
"""The rule of each hyperparameter that is a number, in the order in which they are shown everywhere."""

CHOICES: Mapping[str, Choice] = {
    one.name: one.metadata["choice"] for one in fields(Hyperparameters) if "choice" in one.metadata
}
"""The others, which are shown behind them."""

NAMES: tuple[str, ...] = tuple(RULES)
"""Of the numbers."""

_OFF: Mapping[str, Any] = {one.name: one.default for one in fields(Hyperparameters)}


def shown_names(settings: Iterable[Hyperparameters]) -> tuple[str, ...]:
    """The names to show of these settings: all but those seldom used, and choices, that are off in every one of them.

    >>> [name for name in NAMES if name not in shown_names([BEFORE, AFTER])]
    ['free_bits', 'clipnorm']
    """
    shown = list(settings)
    used = [name for name in (*RULES, *CHOICES) if any(getattr(one, name) != _OFF[name] for one in shown)]
    return tuple(name for name in (*RULES, *CHOICES) if name in used or (name in RULES and not RULES[name].seldom))


WHOLE: tuple[str, ...] = tuple(one.name for one in fields(Hyperparameters) if one.type is int)
"""Those that are whole numbers."""

UNBOUNDED: Mapping[str, float] = {
    one.name: one.default
    for one in fields(Hyperparameters)
    if isinstance(one.default, float) and math.isinf(one.default)
}
"""Those that may be infinite, which is no bound; JSON has no infinity, so there it is null."""

BEFORE = Hyperparameters(kl_weight=1e-3, annealing_epochs=5)
"""The settings from which people start: z_log_var is free and the latent heads are not regularised."""

AFTER = Hyperparameters(kl_weight=1e-4, clip_low=-20.0, clip_high=2.0, annealing_epochs=10, l2=1e-4)
"""The settings that the hand-made recipe turns them into."""
