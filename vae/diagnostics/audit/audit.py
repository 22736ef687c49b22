"""The audit: every experiment on a user's own VAE, and the facts that they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from klsearch.vae.data.rows import Rows
from klsearch.vae.diagnostics.audit.batches import batch_findings
from klsearch.vae.diagnostics.audit.effects import (
    active_weights,
    annealing_findings,
    dropout_findings,
    kl_pull,
    kl_weight_findings,
    l2_findings,
)
from klsearch.vae.diagnostics.audit.findings import Facts, Finding
from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory
from klsearch.vae.diagnostics.audit.sampling import head_findings, log_var_findings, noise_findings

_ROWS = 256


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of a model.

    Attributes:
        findings: settings without effect, and the like; empty for a sound model.
        facts: reductions and weights, by name; None where no experiment could tell.
    """

    findings: tuple[Finding, ...]
    facts: Facts


def audit_model(model: keras.Model, rows: Rows, callbacks: Sequence[Any] = ()) -> Audit:
    """Examine a compiled VAE with its own `train_step`; afterwards it is as it was before.

    Args:
        model: has `encoder` and `decoder`, and is compiled.
        rows: as it is trained on, shape [N, *row shape]; the first 256 are used.
        callbacks: those that set its KL weight.

    Raises:
        AuditProblem: it lacks a part, or a step fails.
    """
    lab = Laboratory(model, np.asarray(rows[:_ROWS], dtype=np.float32), tuple(callbacks))
    if len(lab.rows) < 2:
        raise AuditProblem("an audit takes two rows at least.")
    lab.kl_weights = active_weights(lab)
    pull = kl_pull(lab)
    heads = head_findings(lab)
    findings = [
        *l2_findings(lab),
        *dropout_findings(lab),
        *kl_weight_findings(lab),
        *annealing_findings(lab),
        *heads,
        *(noise := noise_findings(lab)),
        *([] if heads or any(f.code == "noise_unused" for f in noise) else log_var_findings(lab, pull)),
        *batch_findings(lab),
    ]
    return Audit(tuple(findings), _facts(lab, pull))


def _facts(lab: Laboratory, pull: float) -> Facts:
    latents, features = lab.latent_dim, int(np.prod(lab.rows.shape[1:]))
    weight = _number(lab.kl_weights[0][2]) if lab.kl_weights else None
    reconstruction, error = _reconstruction_pull(lab)
    present = pull if weight is None else pull * weight
    return {
        "latent_dim": latents,
        "features": features,
        "kl_weight": weight,
        "kl_reduction": _reduction(pull, {"sum": 1.0, "mean": 1 / latents, "batch sum": float(len(lab.rows))}),
        "reconstruction": error,
        "reconstruction_reduction": _reduction(reconstruction, {"sum": 1.0, "mean": 1 / features}),
        "reconstruction_weight": reconstruction,
        "kl_pull": present,
        "beta_effective": None if not reconstruction else present / reconstruction,
    }


def _reduction(weight: float | None, reductions: dict[str, float]) -> str | None:
    """The reduction whose factor the weight is, within 2 %."""
    if weight is None:
        return None
    return next((name for name, factor in reductions.items() if abs(weight - factor) < 0.02 * factor), "weighted")


def _reconstruction_pull(lab: Laboratory) -> tuple[float | None, str | None]:
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
        step = lab.step()
        variables = lab.model.decoder.trainable_variables
        theirs = np.concatenate([step.of(variable).ravel() for variable in variables])
        fits = []
        for name in ("squared error", "cross-entropy", "cross-entropy of logits"):
            ours = _gradients(lab, step.z, variables, name)
            if ours is not None and np.any(ours):
                weight = float(theirs @ ours / (ours @ ours))
                misfit = float(np.linalg.norm(theirs - weight * ours) / max(float(np.linalg.norm(theirs)), 1e-30))
                fits.append((misfit, weight, name))
    if not fits or min(fits)[0] > 0.02:
        return None, None
    _, weight, name = min(fits)  # near its initial weights a decoder's errors resemble each other
    return weight, name


def _gradients(lab: Laboratory, z: np.ndarray | None, variables: list[Any], name: str) -> np.ndarray | None:
    if z is None:
        return None
    rows = tf.reshape(lab.rows, [len(lab.rows), -1])
    with tf.GradientTape() as tape:
        decoded = tf.reshape(lab.model.decoder(z, training=True), [len(lab.rows), -1])
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


def _number(value: Any) -> float:
    return float(value.numpy() if hasattr(value, "numpy") else value)
