"""What a user's own loss is made of: its reductions and weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from klsearch.vae.diagnostics.audit.batches import tell_validation
from klsearch.vae.diagnostics.audit.findings import Facts
from klsearch.vae.diagnostics.audit.fits import Moment
from klsearch.vae.diagnostics.audit.kl import kl_pull
from klsearch.vae.diagnostics.audit.laboratory import Laboratory, number_of
from klsearch.vae.diagnostics.audit.sampling import Probe, kl_form, log_var_clip

_BATCH_SUM = "batch sum"


def tell_facts(lab: Laboratory, pull: float | None, probes: Sequence[Probe], moments: Sequence[Moment]) -> Facts:
    """Reductions and weights by name, None where no experiment could tell; they hold for a batch of `rows` rows.

    Args:
        lab: the laboratory.
        pull: the KL's weight, as `kl_pull` gives it.
        probes: of the log-variance; empty where there are none.
        moments: of a fit with the callbacks, as `play_fit` gives them.
    """
    latents, features, rows = lab.latent_dim, int(np.prod(lab.rows.shape[1:])), len(lab.rows)
    weight = number_of(lab.kl_weights[0][2]) if lab.kl_weights else None
    reconstruction, error = reconstruction_pull(lab)
    half = _pulls_of_half(lab)
    present = _present(pull, weight, moments)
    return {
        "latent_dim": latents,
        "features": features,
        "rows": rows,
        "kl_weight": weight,
        "kl_reduction": _reduction(pull, half[0], rows, {"sum": 1.0, "mean": 1 / latents}),
        "kl_form": "in no proportion to KL" if pull is None else kl_form(probes) if probes else None,
        "log_var_clip": log_var_clip(lab, probes) if probes else None,
        "reconstruction": error,
        "reconstruction_reduction": _reduction(reconstruction, half[1], rows, {"sum": 1.0, "mean": 1 / features}),
        "reconstruction_weight": reconstruction,
        "kl_pull": present,
        "beta_effective": None if not reconstruction or present is None or present < 0 else present / reconstruction,
        "validation": tell_validation(lab),
        "gradients": "altered before the optimizer" if lab.alters_gradients else "of the loss",
    }


def _present(pull: float | None, weight: float | None, moments: Sequence[Moment]) -> float | None:
    """The KL's weight with the KL weight that the model holds, or at its largest in a fit with the callbacks."""
    if pull is None:
        return None
    strengths = [each.strength for each in moments]
    if strengths and max(strengths) != min(strengths):
        return max(strengths)
    return pull if weight is None else pull * weight


def _pulls_of_half(lab: Laboratory) -> tuple[float | None, float | None]:
    """The weights of KL and reconstruction for half the rows."""
    rows = lab.rows
    lab.rows = rows[: len(rows) // 2]
    try:
        return kl_pull(lab), reconstruction_pull(lab)[0]
    finally:
        lab.rows = rows


def _reduction(weight: float | None, of_half: float | None, rows: int, reductions: dict[str, float]) -> str | None:
    """A sum over the batch where the weight grows with its rows; else that whose factor it is, within 2 %."""
    if not weight:
        return None
    if of_half is not None and abs(weight / rows - of_half / (rows // 2)) < 0.1 * abs(weight / rows):
        return _BATCH_SUM
    return next((name for name, factor in reductions.items() if abs(weight - factor) < 0.02 * factor), "weighted")


def reconstruction_pull(lab: Laboratory) -> tuple[float | None, str | None]:
    """What the loss weighs the reconstruction with, summed over features, mean over the batch, and which error it is.

    The decoder's gradients are held against those of each error for the z that the step decoded.
    """
    with lab.experiment():
        lab.weigh_fully()
        for variable in lab.model.trainable_variables:
            variable.regularizer = None
        for layer in lab.model._flatten_layers():
            if "Dropout" in type(layer).__name__ and hasattr(layer, "rate"):
                layer.rate = 0.0
        lab.hold_latents(0.5, -1.0)
        lab.spread_decoded()
        step = lab.step()
        variables = lab.decoder.trainable_variables
        theirs = np.concatenate([step.of(variable).ravel() for variable in variables])
        if not np.any(theirs):
            return None, None
        fits = []
        for name in ("squared error", "cross-entropy", "cross-entropy of logits"):
            ours = _gradients(lab, step.z, variables, name)
            if ours is not None and np.any(ours):
                weight = float(theirs @ ours / (ours @ ours))
                misfit = float(np.linalg.norm(theirs - weight * ours) / max(float(np.linalg.norm(theirs)), 1e-30))
                fits.append((misfit, weight, name))
    if not fits or min(fits)[0] > 0.02:
        return None, None
    _, weight, name = min(fits)
    return weight, name


def _gradients(lab: Laboratory, z: np.ndarray | None, variables: list[Any], name: str) -> np.ndarray | None:
    if z is None:
        return None
    rows = tf.reshape(lab.rows, [len(lab.rows), -1])
    with tf.GradientTape() as tape:
        decoded = tf.reshape(lab.decoder(z, training=True), [len(lab.rows), -1])
        if decoded.shape != rows.shape:
            return None
        if name == "squared error":
            errors = tf.square(rows - decoded)
        elif name == "cross-entropy":
            inside = tf.clip_by_value(decoded, 1e-7, 1 - 1e-7)
            errors = -rows * tf.math.log(inside) - (1 - rows) * tf.math.log(1 - inside)
        else:
            errors = tf.nn.sigmoid_cross_entropy_with_logits(rows, decoded)
        loss = tf.reduce_mean(tf.reduce_sum(errors, axis=1))
    found = tape.gradient(loss, [variable.value for variable in variables])
    parts = [
        np.zeros(v.shape) if g is None else keras.ops.convert_to_numpy(g) for v, g in zip(variables, found, strict=True)
    ]
    values = np.concatenate([part.ravel() for part in parts])
    return values if np.all(np.isfinite(values)) else None
