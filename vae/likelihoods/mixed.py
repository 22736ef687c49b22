"""A likelihood of its own for every column of a table: numbers, counts, truth values and categories."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from klsearch.vae.data.readers.raw import Column, owners_of
from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.categorical import CATEGORICAL
from klsearch.vae.likelihoods.counts.counts import LEAST_MEAN, deviance_of_counts, dispersion_about
from klsearch.vae.likelihoods.counts.negative_binomial import KERAS_DENSITY, log_probability
from klsearch.vae.likelihoods.counts.poisson import POISSON
from klsearch.vae.likelihoods.deviance import Deviance, unit_spread
from klsearch.vae.likelihoods.gaussian_variance import GAUSSIAN_VARIANCE, negative_log_density
from klsearch.vae.likelihoods.likelihood import LogLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

_LEAST_SHARE = 1e-6  # of either truth value


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How columns of a kind are scored, by what the decoder gives for each value: its location, and ln of its spread.

    Attributes:
        error: −ln p of values, by them, their locations and the log-spreads, each [..., n].
        mean: E[x] by the locations.
        deviance: of values from predictions, by predictions, values and the spread [n].
        spread: see `Deviance`.
        predicted_by_mean: what a training mean [n] predicts.
        keras_error: `error` in plain Keras, of `rows` and the names in `keras_names`; see `Likelihood`.
        keras_names: what its text calls location and log-spread.
        keras_mean: `mean` in plain Keras, of `output`.
    """

    error: Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor"], "tf.Tensor"]
    mean: Callable[["tf.Tensor"], "tf.Tensor"]
    deviance: Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor"], "tf.Tensor"]
    spread: Callable[[np.ndarray, np.ndarray], np.ndarray] = unit_spread
    predicted_by_mean: Callable[["tf.Tensor"], "tf.Tensor"] = lambda mean: mean
    keras_error: str
    keras_names: Mapping[str, str]
    keras_mean: str


def _variance(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """σ² of what is known."""
    variance = np.nanmean(np.square(train - mean), axis=0)
    return np.where(variance > 0, variance, 1.0)


def _dispersion(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """α about the mean."""
    return dispersion_about(np.maximum(mean, LEAST_MEAN), train)


# In the training program a piece's size is not known as it is made, which `Categorical` would split places by.
def _error_of_words(rows: "tf.Tensor", logits: "tf.Tensor", log_spread: "tf.Tensor") -> "tf.Tensor":
    """−x ln softmax(logits), 0 for a word that is unknown."""
    import tensorflow as tf

    del log_spread
    return -rows * tf.nn.log_softmax(logits)


def _shares_of_words(logits: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.nn.softmax(logits)


def _deviance_of_truths(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    """−2 [x ln p + (1 − x) ln(1 − p)]."""
    import tensorflow as tf

    del spread
    likely = tf.clip_by_value(mean, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return -2 * (tf.math.xlogy(rows, likely) + tf.math.xlogy(1 - rows, 1 - likely))


_KINDS: Mapping[str, Kind] = {
    "number": Kind(
        error=negative_log_density,
        mean=lambda location: location,
        deviance=lambda mean, rows, variance: (mean - rows) ** 2 / variance,
        spread=_variance,
        keras_error=GAUSSIAN_VARIANCE.keras_error,
        keras_names={"mean": "location", "log_var": "log_spread"},
        keras_mean="output",
    ),
    "count": Kind(
        error=lambda rows, log_mean, log_dispersion: -log_probability(rows, log_mean, log_dispersion),
        mean=lambda log_mean: POISSON.mean(log_mean, log_mean),
        deviance=deviance_of_counts,
        spread=_dispersion,
        keras_error=f"{KERAS_DENSITY}-log_p",
        keras_names={"log_mean": "location", "log_dispersion": "log_spread"},
        keras_mean=str(POISSON.keras_mean),
    ),
    "truth value": Kind(
        error=lambda rows, logits, _: BERNOULLI.error(rows, logits),
        mean=lambda logits: BERNOULLI.mean(logits, logits),
        deviance=_deviance_of_truths,
        keras_error=BERNOULLI.keras_error,
        keras_names={"output": "location"},
        keras_mean=str(BERNOULLI.keras_mean),
    ),
    "category": Kind(
        error=_error_of_words,
        mean=_shares_of_words,
        deviance=CATEGORICAL.deviance.between,
        predicted_by_mean=lambda mean: CATEGORICAL.deviance.predicted_by_mean(mean, mean),
        keras_error="-rows * ops.log_softmax(output)",
        keras_names={"output": "location"},
        keras_mean=str(CATEGORICAL.keras_mean),
    ),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring places of a row that are scored alike: columns of one kind, or the words of one category.

    Attributes:
        kind: how they are scored.
        start: the first place.
        stop: the place behind the last; None for all that are left.
    """

    kind: Kind
    start: int = 0
    stop: int | None = None

    def of(self, values: "tf.Tensor") -> "tf.Tensor":
        """These places of values [..., D]."""
        return values[..., self.start : self.stop]

    @property
    def places(self) -> str:
        """The same as the text of an index."""
        return f"{self.start}:{'' if self.stop is None else self.stop}"

    def keras_error(self) -> list[str]:
        """The lines of `Kind.keras_error`, of these places of `rows`, `location` and `log_spread`."""
        names = {"rows": "rows", **self.kind.keras_names}
        pattern = re.compile(rf"\b({'|'.join(names)})\b")
        return pattern.sub(lambda found: f"{names[found[1]]}[..., {self.places}]", self.kind.keras_error).splitlines()


def pieces_of(table: Sequence[Column]) -> tuple[Piece, ...]:
    """The pieces of a row, in its order: together they are all of it.

    >>> age, pay = Column(name="age", kind="number"), Column(name="pay", kind="number")
    >>> [piece.places for piece in pieces_of([age, pay, Column(name="sex", kind="category", categories=("f", "m"))])]
    ['0:2', '2:4']
    """
    found, start = list[Piece](), 0
    owners = owners_of(table)
    for (kind, _), columns in groupby(owners, lambda column: (column.kind, column.categories and column.name)):
        stop = start + len(list(columns))
        found.append(Piece(_KINDS[kind], start, stop))
        start = stop
    return tuple(found)


class Mixed(LogLikelihood):
    """The sum over a table's columns of −ln p, each by its kind, as HI-VAE scores them (Nazábal et al. 2020).

    Attributes:
        table: its columns; None for numbers alone.
    """

    name: ClassVar[str] = "mixed"
    error_name: ClassVar[str] = "negative log-likelihood of the columns in nats"
    parts: ClassVar[tuple[str, ...]] = ("location",)
    column_parts: ClassVar[Mapping[str, float]] = {"log_spread": 0.0}
    output_name: ClassVar[str] = (
        "two numbers for each value on a last axis: its mean (of a count the logarithm, of truth values and categories "
        "the logits) and ln of its variance or dispersion"
    )
    scaling: ClassVar[str] = "columns"
    made_of: ClassVar[Literal["nothing", "shape", "table"]] = "table"

    def __init__(self, table: tuple[Column, ...] | None = None) -> None:
        self.table = table
        self._pieces = pieces_of(table) if table is not None else (Piece(_KINDS["number"]),)
        self.deviance = Deviance(
            words="deviance of the columns",
            whole="deviance",
            between=self._between,
            spread=self._spread,
            predicted_by_mean=self._predicted_by_mean,
        )
        places = tuple(column.kind == "count" for column in owners_of(table))
        self.log_input = places if any(places) else False
        self.keras_error = self._error_in_keras()
        means = (piece.kind.keras_mean.replace("output", f"output[..., {piece.places}, 0]") for piece in self._pieces)
        self.keras_mean = f"keras.ops.concatenate([{', '.join(means)}], -1)"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x), of a category at the place of its word."""
        import tensorflow as tf

        values, log_spread = self.split(output)
        rows = tf.broadcast_to(rows, tf.shape(values))
        return self._joined(lambda piece: piece.kind.error(piece.of(rows), piece.of(values), piece.of(log_spread)))

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The mean of numbers and counts, the probability of truth values and of each word."""
        del rows
        values, _ = self.split(output)
        return self._joined(lambda piece: piece.kind.mean(piece.of(values)))

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Rows that were not scaled column by column, each by what it holds."""
        del splits
        return None if scaling == self.scaling else "scales each column by its kind; set data.scaling = 'auto'"

    def _between(self, mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        rows = tf.broadcast_to(rows, tf.broadcast_dynamic_shape(tf.shape(rows), tf.shape(mean)))
        mean = tf.broadcast_to(mean, tf.shape(rows))
        return self._joined(lambda piece: piece.kind.deviance(piece.of(mean), piece.of(rows), piece.of(spread)))

    def _predicted_by_mean(self, mean: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        del rows
        return self._joined(lambda piece: piece.kind.predicted_by_mean(piece.of(mean)))

    def _spread(self, train: np.ndarray, mean: np.ndarray) -> np.ndarray:
        found = (piece.kind.spread(piece.of(train), piece.of(mean)) for piece in self._pieces)
        return np.concatenate(list(found))

    def _joined(self, score: Callable[[Piece], "tf.Tensor"]) -> "tf.Tensor":
        """What is worked out of each piece, [..., D]."""
        import tensorflow as tf

        return tf.concat([score(piece) for piece in self._pieces], axis=-1)

    def _error_in_keras(self) -> str:
        lines, names = list[str](), list[str]()
        for number, piece in enumerate(self._pieces):
            *assignments, expression = piece.keras_error()
            names.append(f"error_{number}")
            lines += [*assignments, f"{names[-1]} = {expression}"]
        return "\n".join([*lines, f"ops.concatenate([{', '.join(names)}], axis=-1)"])


MIXED = Mixed()
