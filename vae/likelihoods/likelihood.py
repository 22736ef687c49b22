"""What a distribution of rows given their latents tells of itself; everything else follows from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:  # definitions name likelihoods, and must not wait for TensorFlow
    import tensorflow as tf


class Likelihood(ABC):
    """p(x|z) of a row x, by what the decoder gives for z.

    Attributes:
        name: as `model.likelihood` says it.
        error_name: what `error` is, in words.
        keras_error: `error` as an expression of plain Keras, of `rows` and `output`, with `ops` for `keras.ops`.
        output_name: what the decoder gives, in words.
        keras_mean: what turns the decoder's output into the reconstruction, in plain Keras; None where it is that.
        fits_variance: whether the loss leaves a variance open, which a σ-VAE fits to each batch.
    """

    name: ClassVar[str]
    error_name: ClassVar[str]
    keras_error: ClassVar[str]
    output_name: ClassVar[str]
    keras_mean: ClassVar[str | None] = None
    fits_variance: ClassVar[bool] = False

    @abstractmethod
    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """What each value adds to the reconstruction error, of the output's shape; the rows may lack leading axes."""

    @abstractmethod
    def mean(self, output: "tf.Tensor") -> "tf.Tensor":
        """The reconstruction E[x|z] in the space of the data, of the output's shape."""

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
    def misfit(self, splits: Iterable[np.ndarray], scaling: str) -> str | None:
        """Why rows, scaled by a kind of scaling, cannot be scored, and the way out; None where they can.

        The training rows come first: no scaling that is fitted on them brings what lies beyond them into their range.
        """
