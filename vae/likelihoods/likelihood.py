"""What a distribution of rows given their latents tells of itself; everything else follows from it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.deviance import SQUARED_ERROR, Deviance

if TYPE_CHECKING:  # definitions name likelihoods, and must not wait for TensorFlow
    import tensorflow as tf


class Likelihood(ABC):
    """p(x|z) of a row x, by what the decoder gives for z.

    Attributes:
        name: as `model.likelihood` says it.
        error_name: what `error` is, in words.
        parts: names of the numbers that the decoder works out for each value, in their order.
        column_parts: of those that follow them: learned for each value's place, the same for all rows; with their
            values at the start.
        keras_error: `error` in plain Keras, of `rows` and the parts, with `ops` for `keras.ops`: the last line
            is an expression, those before it assign what it needs.
        output_name: what the decoder gives, in words.
        keras_mean: the reconstruction as an expression of plain Keras, of the decoder's `output` and, if need be, of
            `rows` and `{axes}`, a row's axes; None where the output is that.
        deviance: what `unexplained` is a share of.
        scaling: what `data.scaling = "auto"` means for its rows.
        log_input: whether our encoders take ln(1 + x) of the rows first, which spans orders of magnitude; or of which
            columns of a table.
        made_of: what of a row it is made of: its "shape", the "table" that it comes from, or nothing.
        fits_variance: whether the loss leaves a variance open, which a σ-VAE fits to each batch.
    """

    name: ClassVar[str]
    error_name: ClassVar[str]
    keras_error: str
    output_name: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ("output",)
    column_parts: ClassVar[Mapping[str, float]] = {}
    keras_mean: str | None = None
    deviance: Deviance = SQUARED_ERROR
    scaling: ClassVar[str] = "auto"
    log_input: bool | tuple[bool, ...] = False
    made_of: ClassVar[Literal["nothing", "shape", "table"]] = "nothing"
    fits_variance: ClassVar[bool] = False

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The names of the numbers for each value in the decoder's output, those of its place last."""
        return (*self.parts, *self.column_parts)

    @property
    def outputs(self) -> int:
        """How many these are."""
        return len(self.all_parts)

    def for_rows(self, shape: tuple[int, ...], table: tuple[Column, ...] | None = None) -> Self:
        """The likelihood of rows of a shape, and of a table's columns: itself, unless it is made of them."""
        make: Any = type(self)
        given = {"shape": shape, "table": table}
        return make(given[self.made_of]) if self.made_of in given else self

    def keras_mean_of(self, shape: tuple[int, ...]) -> str | None:
        """`keras_mean` for rows of a shape."""
        axes = -1 if len(shape) == 1 else tuple(range(1, len(shape) + 1))
        return None if self.keras_mean is None else self.keras_mean.format(axes=axes)

    def terms(self, shape: tuple[int, ...]) -> int:
        """How many terms a row of a shape has in its error, of which scripts take the mean: one for each value."""
        return math.prod(shape)

    def split(self, output: "tf.Tensor") -> list["tf.Tensor"]:
        """The parts of an output [..., D · outputs], whose numbers for one value stand together: each [..., D]."""
        import tensorflow as tf

        apart = tf.reshape(output, tf.concat([tf.shape(output)[:-1], [-1, self.outputs]], axis=0))
        parts: list[tf.Tensor] = tf.unstack(apart, axis=-1)
        return parts

    @abstractmethod
    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """What each value adds to the reconstruction error, [..., D]; the rows may lack leading axes of the output."""

    @abstractmethod
    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The reconstruction E[x|z] in the space of the data, [..., D].

        Args:
            output: of the decoder, [..., D · outputs].
            rows: [..., D], for what of them the decoder is not asked for, such as their total.
        """

    @abstractmethod
    def distortion(self, errors: np.ndarray, *, features: int, train_errors: Callable[[], np.ndarray]) -> np.ndarray:
        """E[−log p(x|z)] of members in nats, [K].

        Args:
            errors: reconstruction error of a row, summed over features, mean over rows: [K].
            features: D.
            train_errors: gives the same on training rows, for what is fitted to them.
        """

    @abstractmethod
    def output_activation(self, *, unit_interval: bool) -> str:
        """The activation of the decoder's last layer, for data that lie in [0, 1] or not."""

    @abstractmethod
    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Why rows, scaled by a kind of scaling, cannot be scored, and the way out; None where they can.

        The training rows come first: no scaling that is fitted on them brings what lies beyond them into their range.
        """


class LogLikelihood(Likelihood):
    """One whose error is −ln p(x|z) in full, of an output without bounds."""

    def distortion(self, errors: np.ndarray, *, features: int, train_errors: Callable[[], np.ndarray]) -> np.ndarray:
        """The errors: they are in nats already."""
        del features, train_errors
        return errors

    def output_activation(self, *, unit_interval: bool) -> str:
        """None."""
        del unit_interval
        return "linear"


class LocationLikelihood(LogLikelihood):
    """One of any numbers, whose first part is their mean; the others say how far from it they lie."""

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The first part."""
        del rows
        return self.split(output)[0]

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Any numbers can be scored."""
        del splits, scaling
        return None
