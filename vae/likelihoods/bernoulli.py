"""A coin for every value."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from klsearch.vae.data.rows import Rows, extremes
from klsearch.vae.data.scaling import in_unit_interval
from klsearch.vae.likelihoods.likelihood import LogLikelihood

if TYPE_CHECKING:
    import tensorflow as tf


class Bernoulli(LogLikelihood):
    """B(x; sigmoid(output)): the decoder gives logits, and the error is the cross-entropy."""

    name: ClassVar[str] = "bernoulli"
    error_name: ClassVar[str] = "cross-entropy in nats"
    keras_error: str = "ops.binary_crossentropy(rows, output, from_logits=True)"
    output_name: ClassVar[str] = "logits"
    keras_mean: str | None = "keras.ops.sigmoid(output)"

    def error(self, rows: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """−x · ln p − (1 − x) · ln(1 − p) of p = sigmoid(output)."""
        import tensorflow as tf

        labels = tf.broadcast_to(rows, tf.shape(output))
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=output)

    def mean(self, output: "tf.Tensor", rows: "tf.Tensor") -> "tf.Tensor":
        """The sigmoid of the output."""
        import tensorflow as tf

        del rows
        return tf.sigmoid(output)

    def misfit(self, splits: Iterable[Rows], scaling: str) -> str | None:
        """What lies outside [0, 1] is no probability."""
        train, *held_out = splits
        if in_unit_interval([train, *held_out]):
            return None
        # As min-max would scale them: columns by themselves, images by one number for all pixels.
        axis = 0 if len(train.shape) == 2 else None
        low, high = extremes(train, axis)
        bounds = (extremes(rows, axis) for rows in held_out if len(rows))
        lies_beyond = any(bool((least < low).any() or (most > high).any()) for least, most in bounds)
        beyond = "held-out values lie beyond the training rows' range, so use"
        way_out = beyond if lies_beyond or scaling in ("minmax", "image") else "set data.scaling = 'minmax' or"
        return f"needs values in [0, 1]; {way_out} 'gaussian'"


BERNOULLI = Bernoulli()
