"""The searched numbers of one trial, none of which changes a tensor's shape, and the recipe's two settings of them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

# JSON has no infinity: "no clipping" and "no gradient clipping" are written as null.
_UNBOUNDED = {"clip_low": -math.inf, "clip_high": math.inf, "clipnorm": math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One member's settings, checked when made.

    Attributes:
        kl_weight: full weight of the KL term in the loss, under the study's reductions; at least 0.
        clip_low: lower clip bound of z_log_var; `-inf` for none.
        clip_high: upper clip bound of z_log_var; `inf` for none.
        annealing_epochs: epochs over which the KL weight rises linearly from 0; 0 means full weight from the start.
        l2: L2 strength on the kernels of both latent heads (Keras's convention, without ½).
        encoder_dropout: dropout rate in the encoder, in [0, 1).
        learning_rate: Adam's step size.
        clipnorm: each variable's gradient is scaled to at most this norm (Keras's `clipnorm`); `inf` for none.

    Raises:
        ValueError: a value lies outside what the model can be trained with; the message names it.
    """

    kl_weight: float
    clip_low: float = -math.inf
    clip_high: float = math.inf
    annealing_epochs: int = 0
    l2: float = 0.0
    encoder_dropout: float = 0.0
    learning_rate: float = 1e-3
    clipnorm: float = math.inf

    def __post_init__(self) -> None:
        for field in fields(self):
            if math.isnan(getattr(self, field.name)):
                raise ValueError(f"{field.name} must be a number, but is NaN.")
        for name in ("kl_weight", "annealing_epochs", "l2"):
            value = getattr(self, name)
            if value < 0 or math.isinf(value):
                raise ValueError(f"{name} must be finite and at least 0, but is {value}.")
        if self.annealing_epochs != int(self.annealing_epochs):
            raise ValueError(f"annealing_epochs must be a whole number, but is {self.annealing_epochs}.")
        if self.clip_low >= self.clip_high:
            raise ValueError(f"clip_low must lie below clip_high, but {self.clip_low} >= {self.clip_high}.")
        if not 0 <= self.encoder_dropout < 1:
            raise ValueError(f"encoder_dropout must lie in [0, 1), but is {self.encoder_dropout}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be finite and above 0, but is {self.learning_rate}.")
        if self.clipnorm <= 0:
            raise ValueError(f"clipnorm must be above 0, but is {self.clipnorm}.")

    def as_json(self) -> dict[str, float | int | None]:
        """The settings as JSON values; an absent bound is None."""
        return {name: None if math.isinf(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings that `as_json` wrote.

        >>> Hyperparameters.from_json(AFTER.as_json()) == AFTER
        True
        """
        bounded: dict[str, Any] = {name: _UNBOUNDED[name] if value is None else value for name, value in values.items()}
        return cls(**bounded)


NAMES: tuple[str, ...] = tuple(field.name for field in fields(Hyperparameters))

BEFORE = Hyperparameters(kl_weight=1e-3, annealing_epochs=5)
"""The settings from which people start: z_log_var is free and the latent heads are not regularised."""

AFTER = Hyperparameters(kl_weight=1e-4, clip_low=-20.0, clip_high=2.0, annealing_epochs=10, l2=1e-4)
"""The settings that the hand-made recipe turns them into."""
