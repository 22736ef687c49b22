"""A Poisson distribution for every value."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from klsearch.vae.data.rows import Rows
from klsearch.vae.likelihoods.counts.counts import LEAST_MEAN, CountLikelihood, misfit_of_counts
from klsearch.vae.likelihoods.deviance import Deviance

if TYPE_CHECKING:
    import tensorflow as tf


def _deviance(mean: "tf.Tensor", rows: "tf.Tensor", spread: "tf.Tensor") -> "tf.Tensor":
    """2 [x ln(x/m) − (x − m)]."""
    import tensorflow as tf

    del spread
    mean = tf.maximum(mean, LEAST_MEAN)
    return 2 * (tf.math.xlogy(rows, rows / mean) - (rows - mean))


class Poisson(CountLikelihood):
    """P(x; e^output): the decoder gives the logarithm of the rate, and the error is −ln p(x)."""

    name: ClassVar[str] = "poisson"
    keras_error: str = "ops.exp(output) - rows * output + tf.math.lgamma(rows + 1.0)"
    deviance: Deviance = Deviance(words="Poisson deviance", whole="deviance", between=_deviance)
    output_name: ClassVar[str] = "the logarithm of the rate"
    keras_mean: str | None = "keras.ops.exp(output)"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """λ − x ln λ + ln x! of λ = e^output."""
        import tensorflow as tf

        return tf.exp(output) - rows * output + tf.math.lgamma(rows + 1.0)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The rate."""
        import tensorflow as tf

        del rows
        return tf.exp(output)

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """Counts alone can be scored."""
        return misfit_of_counts(splits, scaling)


POISSON = Poisson()
