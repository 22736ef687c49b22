"""A negative binomial distribution for every value, a dispersion learned for every column."""

from typing import TYPE_CHECKING, ClassVar

from klsearch.vae.likelihoods.counts.counts import LEAST_DISPERSION, LibraryLikelihood, library_size

if TYPE_CHECKING:
    import tensorflow as tf

# log_p = ln Γ(x + r) − ln Γ(r) − ln x! + r ln(r / (r + m)) + x ln(m / (r + m)) of the size r = 1/α, in plain Keras.
KERAS_DENSITY = f"""\
r = 1.0 / (ops.exp(log_dispersion) + {LEAST_DISPERSION})
ways = tf.math.lgamma(rows + r) - tf.math.lgamma(r) - tf.math.lgamma(rows + 1.0)
log_p = ways + rows * log_mean + r * ops.log(r) - (rows + r) * ops.log(r + ops.exp(log_mean))
"""
KERAS_LOG_PROBABILITY = f"""\
log_mean = ops.log(ops.sum(rows, axis=-1, keepdims=True)) + ops.log_softmax(log_share)
{KERAS_DENSITY}"""
KERAS_MEAN = "keras.ops.sum(rows, {axes}, keepdims=True) * keras.ops.softmax(output[..., 0], {axes})"


class NegativeBinomial(LibraryLikelihood):
    """NB(x; mean m, variance m + αm²), m = library size · softmax(output) over the row: as scVI (Lopez et al. 2018)."""

    name: ClassVar[str] = "negative_binomial"
    parts: ClassVar[tuple[str, ...]] = ("log_share",)
    keras_error: str = f"{KERAS_LOG_PROBABILITY}-log_p"
    output_name: ClassVar[str] = (
        "two numbers for each value on a last axis: logits of its share of the row's total, ln α"
    )
    keras_mean: str | None = KERAS_MEAN

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x)."""
        log_share, log_dispersion = self.split(output)
        return -log_probability(rows, log_mean(rows, log_share), log_dispersion)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The row's library size, shared out."""
        import tensorflow as tf

        return library_size(rows) * tf.nn.softmax(self.split(output)[0])


def log_mean(rows: "tf.Tensor", log_share: "tf.Tensor") -> "tf.Tensor":
    """ln m of every value: of the row's library size by the softmax of the shares."""
    import tensorflow as tf

    return tf.math.log(library_size(rows)) + tf.nn.log_softmax(log_share)


def log_probability(rows: "tf.Tensor", log_mean: "tf.Tensor", log_dispersion: "tf.Tensor") -> "tf.Tensor":
    """ln NB(x; m, α) of α = e^log_dispersion + 0.001, by the size r = 1/α.

    ln Γ(x + r) − ln Γ(r) − ln x! + r ln(r / (r + m)) + x ln(m / (r + m)).
    """
    import tensorflow as tf

    r = 1.0 / (tf.exp(log_dispersion) + LEAST_DISPERSION)
    ways = tf.math.lgamma(rows + r) - tf.math.lgamma(r) - tf.math.lgamma(rows + 1.0)
    return ways + rows * log_mean + r * tf.math.log(r) - (rows + r) * tf.math.log(r + tf.exp(log_mean))


NEGATIVE_BINOMIAL = NegativeBinomial()
