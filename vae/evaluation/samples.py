"""What models make of a few rows, in arrays small enough to keep with a study: pictures, or errors by column."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSamples:
    """Images and what each of M models makes of them: uint8, 0 the lowest and 255 the highest value of the data.

    Attributes:
        split: the split that the originals are from.
        names: of the models, shape [M].
        originals: shape [n, height, width, channels], channels 1 or 3; smaller than the data's where those are large.
        reconstructions: from one posterior sample each, shape [M, n, height, width, channels].
        unexplained: deviance of each reconstruction over the split's mean deviance of predicting the training mean,
            shape [M, n]; over many rows it averages to the measure of that name.
        prior_samples: decoded draws from the prior, the same for every model, shape [M, n, height, width, channels].
        traversal: decoded by the first model where one latent of the first row's posterior mean takes each of
            `values`, shape [latents, steps, height, width, channels].
        latents: which latents those are, the most informative first, shape [latents].
        latent_kl: their KL in nats, shape [latents].
        values: shape [steps].
        conditions: of conditional models, what each prior sample was told, in words, shape [n]; empty of others.
        traversed_condition: the same of the traversal: the first row's; empty of others.

    Raises:
        ValueError: the arrays do not fit together.
    """

    split: str
    names: tuple[str, ...]
    originals: np.ndarray
    reconstructions: np.ndarray
    unexplained: np.ndarray
    prior_samples: np.ndarray
    traversal: np.ndarray
    latents: np.ndarray
    latent_kl: np.ndarray
    values: np.ndarray
    conditions: tuple[str, ...] = ()
    traversed_condition: str = ""

    def __post_init__(self) -> None:
        n, image = len(self.originals), self.originals.shape[1:]
        expected = {
            "reconstructions": (len(self.names), n, *image),
            "unexplained": (len(self.names), n),
            "prior_samples": (len(self.names), n, *image),
            "traversal": (len(self.latents), len(self.values), *image),
            "latent_kl": (len(self.latents),),
        }
        _check(self, expected)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesSamples:
    """Series and what each of M models makes of them, in the space in which models are trained.

    Attributes:
        split: the split that the originals are from.
        names: of the models, shape [M].
        steps: numbers of the steps that are kept, of long series only some, shape [length].
        channels: numbers of the channels that are kept, of many only the first, shape [channels].
        originals: shape [n, length, channels]; NaN where a value is missing.
        reconstructions: from one posterior sample each, shape [M, n, length, channels].
        unexplained: deviance of each reconstruction over the split's mean deviance of predicting the training mean,
            shape [M, n].
        prior_samples: decoded draws from the prior, the same for every model, shape [M, n, length, channels].
        conditions: of conditional models, what each prior sample was told, in words, shape [n]; empty of others.

    Raises:
        ValueError: the arrays do not fit together.
    """

    split: str
    names: tuple[str, ...]
    steps: np.ndarray
    channels: np.ndarray
    originals: np.ndarray
    reconstructions: np.ndarray
    unexplained: np.ndarray
    prior_samples: np.ndarray
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        models, n, kept = len(self.names), len(self.originals), (len(self.steps), len(self.channels))
        expected = {
            "originals": (n, *kept),
            "reconstructions": (models, n, *kept),
            "unexplained": (models, n),
            "prior_samples": (models, n, *kept),
        }
        _check(self, expected)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnErrors:
    """How well each of M models reconstructs the columns of a table.

    Attributes:
        split: the split that it was measured on.
        names: of the models, shape [M].
        columns: names of the columns, the worst reconstructed by the first model first; of many only the worst and
            the best.
        unexplained: deviance over that of predicting the training mean, shape [M, columns].
        of: how many columns vary on the split in all.

    Raises:
        ValueError: the errors do not fit the names.
    """

    split: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    unexplained: np.ndarray
    of: int

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.columns))
        if self.unexplained.shape != shape:
            raise ValueError(f"unexplained must have shape {list(shape)}, but has {list(self.unexplained.shape)}.")


def _check(samples: ImageSamples | SeriesSamples, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse arrays of other shapes than expected, by name, and conditions of other prior samples."""
    for name, shape in expected.items():
        if getattr(samples, name).shape != shape:
            raise ValueError(f"{name} must have shape {list(shape)}, but has {list(getattr(samples, name).shape)}.")
    n, told = len(samples.originals), len(samples.conditions)
    if told not in (0, n):
        raise ValueError(f"conditions must name none or each of {n} prior samples, but name {told}.")


Samples = ImageSamples | SeriesSamples | ColumnErrors
