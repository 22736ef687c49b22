"""A Gaussian of one variance, the same for every row and feature."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.likelihood import Likelihood

if TYPE_CHECKING:
    import tensorflow as tf

_VARIANCE_FLOOR = 1e-6


class Gaussian(Likelihood):
    """N(x; output, σ²): the error is the squared one, so that the KL weight stands for 2σ²."""

    name: ClassVar[str] = "gaussian"
    error_name: ClassVar[str] = "squared error"
    keras_error: str = "ops.square(rows - output)"
    output_name: ClassVar[str] = "the reconstruction itself"
    fits_variance: ClassVar[bool] = True

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """(x − output)²."""
        import tensorflow as tf

        return tf.math.squared_difference(output, rows)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The output itself."""
        del rows
        return output

    def distortion(self, errors: np.ndarray, *, features: int, train_errors: Callable[[], np.ndarray]) -> np.ndarray:
        """D/2 · ln(2πσ²) + squared error / 2σ², σ² the mean squared error on training rows.

        That is the best single variance (Rybkin et al. 2021).
        """
        variance = np.maximum(train_errors() / features, _VARIANCE_FLOOR)
        return np.asarray(features / 2 * np.log(2 * np.pi * variance) + errors / (2 * variance))

    def output_activation(self, *, unit_interval: bool) -> str:
        """Bounded as the data are."""
        return "sigmoid" if unit_interval else "linear"

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Any numbers can be scored."""
        del splits, scaling
        return None


GAUSSIAN = Gaussian()
