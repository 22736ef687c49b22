"""A negative binomial distribution with zeros of another origin."""

from typing import TYPE_CHECKING, ClassVar

from klsearch.vae.likelihoods.counts.counts import LibraryLikelihood
from klsearch.vae.likelihoods.counts.negative_binomial import (
    KERAS_LOG_PROBABILITY,
    KERAS_MEAN,
    log_mean,
    log_probability,
)

if TYPE_CHECKING:
    import tensorflow as tf


class ZeroInflatedNegativeBinomial(LibraryLikelihood):
    """π · [x = 0] + (1 − π) · NB(x; m, α), π = sigmoid(zero_logit): as scVI's default once (Lopez et al. 2018)."""

    name: ClassVar[str] = "zero_inflated_negative_binomial"
    parts: ClassVar[tuple[str, ...]] = ("log_share", "zero_logit")
    keras_error: str = f"""\
{KERAS_LOG_PROBABILITY}either = ops.logaddexp(zero_logit, log_p)
ops.softplus(zero_logit) - ops.where(rows == 0, either, log_p)"""
    output_name: ClassVar[str] = (
        "three numbers for each value on a last axis: logits of its share of the row's total and of a zero, ln α"
    )
    keras_mean: str | None = f"{KERAS_MEAN} * keras.ops.sigmoid(-output[..., 1])"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−ln p(x): by ln(1 + e^logit) all is divided, to which the zeros add e^logit."""
        import tensorflow as tf

        log_share, zero_logit, log_dispersion = self.split(output)
        counted = log_probability(rows, log_mean(rows, log_share), log_dispersion)
        # The logarithm of a sum of two exponentials, none of which may overflow.
        either = tf.maximum(zero_logit, counted) + tf.math.softplus(-tf.abs(zero_logit - counted))
        none = tf.broadcast_to(rows == 0, tf.shape(counted))
        return tf.math.softplus(zero_logit) - tf.where(none, either, counted)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """(1 − π) · m."""
        import tensorflow as tf

        log_share, zero_logit, _ = self.split(output)
        return tf.exp(log_mean(rows, log_share)) * tf.sigmoid(-zero_logit)


ZERO_INFLATED_NEGATIVE_BINOMIAL = ZeroInflatedNegativeBinomial()
