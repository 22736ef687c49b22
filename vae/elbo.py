"""The parts of the evidence lower bound, in nats, for TensorFlow tensors with any leading axes."""

import tensorflow as tf

from klsearch.vae.likelihoods.likelihood import Likelihood


def clip_log_var(raw: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """z_log_var within its bounds; beyond them no gradient passes. Infinite bounds leave it free."""
    return tf.minimum(tf.maximum(raw, low), high)


def sample_posterior(mean: tf.Tensor, log_var: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """z = μ + e^(lv/2) · ε (Kingma & Welling 2014); `log_var` is the clipped one, the same that enters the KL."""
    return mean + tf.exp(0.5 * log_var) * noise


def _excess_variance(log_var: tf.Tensor) -> tf.Tensor:
    """e^lv − 1 − lv. In float64, for around lv = 0 the difference cancels most digits."""
    wide = tf.cast(log_var, tf.float64)
    return tf.cast(tf.math.expm1(wide) - wide, log_var.dtype)


def kl_elements(mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(μ, e^lv) ‖ N(0, 1)) of every row and latent: ½(e^lv + μ² − 1 − lv), nats, the shape of `mean`.

    Kingma & Welling 2014, appendix B. Accurate to a relative 1e-6 in float32 for lv from −30 to 20.
    """
    return 0.5 * (_excess_variance(log_var) + tf.square(mean))


def deviance(
    rows: tf.Tensor, output: tf.Tensor, likelihood: Likelihood, spread: tf.Tensor, known: tf.Tensor | None = None
) -> tf.Tensor:
    """Deviance of the reconstruction, summed over known features: [..., rows]; see `Likelihood.deviance`."""
    return _sum_known(likelihood.deviance.between(likelihood.mean(output, rows), rows, spread), known)


def reconstruction_error(
    rows: tf.Tensor, output: tf.Tensor, likelihood: Likelihood, known: tf.Tensor | None = None
) -> tf.Tensor:
    """What the likelihood makes of the output, summed over known features: [..., rows] from [..., rows, D].

    The rows, and `known`, 1 or 0 for each of their values (None where all are known), may lack leading axes of the
    output.
    """
    return _sum_known(likelihood.error(rows, output), known)


def _sum_known(errors: tf.Tensor, known: tf.Tensor | None) -> tf.Tensor:
    return tf.reduce_sum(errors if known is None else errors * known, axis=-1)
