"""A likelihood of its own for every column of a table: numbers, counts, truth values and categories."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.counts.counts import LEAST_DISPERSION, LEAST_MEAN, deviance_of_counts, dispersion_about
from klsearch.vae.likelihoods.counts.negative_binomial import log_probability
from klsearch.vae.likelihoods.deviance import Deviance, unit_spread
from klsearch.vae.likelihoods.gaussian_variance import LEAST_VARIANCE, negative_log_density
from klsearch.vae.likelihoods.likelihood import LogLikelihood

if TYPE_CHECKING:
    import tensorflow as tf

_LEAST_SHARE = 1e-6  # of a word that no training row has, and of either truth value


class Number:
    """N(x; output, e^log_spread + 1e-6); its deviance is the squared error over the training rows' variance."""

    keras_error: ClassVar[str] = f"""\
variance = ops.exp(log_spread[..., PLACES]) + {LEAST_VARIANCE}
squared = ops.square(rows[..., PLACES] - location[..., PLACES])
0.5 * (math.log(2 * math.pi) + ops.log(variance) + squared / variance)"""
    keras_mean: ClassVar[str] = "OUTPUT"

    @staticmethod
    def error(rows: "tf.Tensor", output: "tf.Tensor", log_spread: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x)."""
        return negative_log_density(rows, output, log_spread)

    @staticmethod
    def mean(output: "tf.Tensor") -> "tf.Tensor":
        """The output."""
        return output

    @staticmethod
    def deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
        """(x − m)² / σ²."""
        import tensorflow as tf

        return tf.math.squared_difference(mean, rows) / spread

    @staticmethod
    def spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """σ² of what is known."""
        variance = np.nanmean(np.square(train - mean), axis=0)
        return np.where(variance > 0, variance, 1.0)


class Count:
    """NB(x; mean e^output, dispersion e^log_spread + 0.001); its deviance by the dispersion about the training mean."""

    keras_error: ClassVar[str] = f"""\
counts, log_mean = rows[..., PLACES], location[..., PLACES]
r = 1.0 / (ops.exp(log_spread[..., PLACES]) + {LEAST_DISPERSION})
ways = tf.math.lgamma(counts + r) - tf.math.lgamma(r) - tf.math.lgamma(counts + 1.0)
(counts + r) * ops.log(r + ops.exp(log_mean)) - ways - counts * log_mean - r * ops.log(r)"""
    keras_mean: ClassVar[str] = "keras.ops.exp(OUTPUT)"

    @staticmethod
    def error(rows: "tf.Tensor", output: "tf.Tensor", log_spread: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x)."""
        return -log_probability(rows, output, log_spread)

    @staticmethod
    def mean(output: "tf.Tensor") -> "tf.Tensor":
        """e^output."""
        import tensorflow as tf

        return tf.exp(output)

    @staticmethod
    def deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
        """A negative binomial's."""
        return deviance_of_counts(mean, rows, spread)

    @staticmethod
    def spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The dispersion about the mean."""
        return dispersion_about(np.maximum(mean, LEAST_MEAN), train)


class TruthValue:
    """B(x; sigmoid(output)); its deviance is −2 ln p."""

    keras_error: ClassVar[str] = "ops.binary_crossentropy(rows[..., PLACES], location[..., PLACES], from_logits=True)"
    keras_mean: ClassVar[str] = "keras.ops.sigmoid(OUTPUT)"

    @staticmethod
    def error(rows: "tf.Tensor", output: "tf.Tensor", log_spread: "tf.Tensor") -> "tf.Tensor":
        """The cross-entropy."""
        del log_spread
        return BERNOULLI.error(rows, output)

    @staticmethod
    def mean(output: "tf.Tensor") -> "tf.Tensor":
        """The sigmoid of the output."""
        import tensorflow as tf

        return tf.sigmoid(output)

    @staticmethod
    def deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
        """−2 [x ln p + (1 − x) ln(1 − p)]."""
        import tensorflow as tf

        del spread
        likely = tf.clip_by_value(mean, _LEAST_SHARE, 1 - _LEAST_SHARE)
        return -2 * (tf.math.xlogy(rows, likely) + tf.math.xlogy(1 - rows, 1 - likely))

    @staticmethod
    def spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """One: nothing but the mean is fitted."""
        return unit_spread(train, mean)


class Category:
    """Cat(x; softmax(output)) over the places of its words, of which one that is unknown has none; −2 ln p."""

    keras_error: ClassVar[str] = "-rows[..., PLACES] * ops.log_softmax(location[..., PLACES])"
    keras_mean: ClassVar[str] = "keras.ops.softmax(OUTPUT)"

    @staticmethod
    def error(rows: "tf.Tensor", output: "tf.Tensor", log_spread: "tf.Tensor") -> "tf.Tensor":
        """−x ln softmax(output)."""
        import tensorflow as tf

        del log_spread
        return -rows * tf.nn.log_softmax(output)

    @staticmethod
    def mean(output: "tf.Tensor") -> "tf.Tensor":
        """The probability of each word."""
        import tensorflow as tf

        return tf.nn.softmax(output)

    @staticmethod
    def deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
        """−2 x ln p, of shares that add up to 1 also where some training rows have no word that is known."""
        import tensorflow as tf

        del spread
        whole = tf.maximum(tf.reduce_sum(mean, axis=-1, keepdims=True), _LEAST_SHARE)
        return -2 * rows * tf.math.log(tf.maximum(mean / whole, _LEAST_SHARE))

    @staticmethod
    def spread(train: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """One: nothing but the mean is fitted."""
        return unit_spread(train, mean)


_Kind = type[Number] | type[Count] | type[TruthValue] | type[Category]
_KINDS: Mapping[str, _Kind] = {"number": Number, "count": Count, "truth value": TruthValue, "category": Category}


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring places of a row that are scored alike: columns of one kind, or the words of one category.

    Attributes:
        kind: how they are scored.
        start: the first place.
        stop: the place behind the last; None for all that are left.
    """

    kind: _Kind
    start: int = 0
    stop: int | None = None

    def of(self, values: "tf.Tensor") -> "tf.Tensor":
        """These places of values [..., D]."""
        return values[..., self.start : self.stop]

    @property
    def places(self) -> str:
        """The same as the text of an index."""
        return f"{self.start}:{'' if self.stop is None else self.stop}"


def pieces_of(table: Sequence[Column]) -> tuple[Piece, ...]:
    """The pieces of a row, in its order: together they are all of it.

    >>> age, pay = Column(name="age", kind="number"), Column(name="pay", kind="number")
    >>> [piece.places for piece in pieces_of([age, pay, Column(name="sex", kind="category", categories=("f", "m"))])]
    ['0:2', '2:4']
    """
    found, start = list[Piece](), 0
    for (kind, _), columns in groupby(table, lambda column: (column.kind, column.categories and column.name)):
        stop = start + sum(len(column.categories) or 1 for column in columns)
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
        self._pieces = pieces_of(table) if table is not None else (Piece(Number),)
        self.deviance = Deviance(
            words="deviance of the columns", whole="deviance", between=self._between, spread=self._spread
        )
        places = tuple(column.kind == "count" for column in table or () for _ in column.categories or ("",))
        self.log_input = places if any(places) else False
        self.keras_error = self._error_in_keras()
        means = (piece.kind.keras_mean.replace("OUTPUT", f"output[..., {piece.places}, 0]") for piece in self._pieces)
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
            *assignments, expression = piece.kind.keras_error.replace("PLACES", piece.places).splitlines()
            names.append(f"error_{number}")
            lines += [*assignments, f"{names[-1]} = {expression}"]
        return "\n".join([*lines, f"ops.concatenate([{', '.join(names)}], axis=-1)"])


MIXED = Mixed()
