"""Heads, noise, and which log-variance is sampled and which is in the KL."""

import math

import keras
import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_PROBES = (-25.0, -12.0, -4.0, -1.0, 1.0, 4.0, 8.0)  # raw z_log_var
_SAME = 0.1


def head_findings(lab: Laboratory) -> list[Finding]:
    """A head whose bias is ±0.5, and nothing else, must give ±0.5."""
    bent = []
    for name in ("z_mean", "z_log_var"):
        for value in (-0.5, 0.5):
            with lab.experiment():
                lab.hold_latents(*((value, 0.3) if name == "z_mean" else (0.3, value)))
                given = outputs_of(lab)
            if not any(np.allclose(output, value, atol=1e-4) for output in given):
                bent.append(f"{value:g} before {name} came out of the encoder as another value")
    return [Finding("heads_activated", f"The heads were set: {'; '.join(bent)}.")] if bent else []


def noise_findings(lab: Laboratory) -> list[Finding]:
    """At z_mean = 0 and z_log_var = 0, what is decoded must scatter, in validation too."""
    if _spread(lab, 0.0) < 1e-6:
        return [Finding("noise_unused", "At z_mean 0 and z_log_var 0 the decoder was given 0 in every row: no noise.")]
    with lab.experiment():
        lab.hold_latents(0.0, 0.0)
        z = lab.validation_z()
    if z is not None and float(np.std(z)) < 1e-6:
        return [Finding("validation_uses_mean", "At z_mean 0 and z_log_var 0 test_step decoded 0 in every row.")]
    return []


def log_var_findings(lab: Laboratory, pull: float) -> list[Finding]:
    """The log-variance set from outside must be the same in the noise's size and in the KL's gradient.

    Args:
        lab: the laboratory.
        pull: the KL's weight, as `kl_pull` gives it.
    """
    if abs(pull) < 1e-12:
        return []
    unit = _spread(lab, 0.0)
    differs, dead = [], []
    for raw in _PROBES:
        gradient = _log_var_gradient(lab, raw) / pull
        expected = 0.5 * (math.exp(raw) - 1)  # of ½(e^lv + μ² − 1 − lv)
        is_followed = abs(gradient - expected) < 0.05 * abs(expected)
        is_dead = abs(gradient) < 1e-6
        spread = _spread(lab, raw) / unit if unit > 1e-6 else None
        sampled = None if spread is None else 2 * math.log(max(spread, 1e-12))
        is_sampled = sampled is None or abs(sampled - raw) < _SAME
        if (is_sampled and sampled is not None and not is_followed) or (not is_sampled and is_followed):
            in_kl = "had no gradient" if is_dead else f"had gradient {gradient:.3g} where {expected:.3g} is right"
            differs.append(f"at {raw:g} the noise had the size of {sampled:.3g} and the KL {in_kl}")
        if is_dead:
            dead.append(raw)
    findings = []
    if differs:
        findings.append(Finding("log_var_differs", f"z_log_var was set: {differs[0]}."))
    if dead and not differs:
        share = _share_beyond(lab, dead)
        seen = f"its gradient was 0 at {', '.join(f'{raw:g}' for raw in dead)}; {share:.0%} of the batch lies there"
        findings.append(
            Finding("clip_gradient_dead", f"z_log_var was set from {_PROBES[0]:g} to {_PROBES[-1]:g}: {seen}.")
        )
    return findings


def outputs_of(lab: Laboratory) -> list[np.ndarray]:
    """What the encoder gives for the batch, without dropout."""
    outputs = lab.model.encoder(lab.rows, training=False)
    return [
        keras.ops.convert_to_numpy(output) for output in (outputs.values() if isinstance(outputs, dict) else outputs)
    ]


def _spread(lab: Laboratory, log_var: float) -> float:
    """The standard deviation of what is decoded in training at z_mean 0."""
    with lab.experiment():
        lab.hold_latents(0.0, log_var)
        z = lab.step().z
    return 0.0 if z is None else float(np.std(z))


def _log_var_gradient(lab: Laboratory, log_var: float) -> float:
    with lab.experiment():
        lab.weigh_fully()
        lab.silence_decoder()
        lab.hold_latents(0.0, log_var)
        return float(np.mean(lab.step().of(lab.log_var.bias)))


def _share_beyond(lab: Laboratory, dead: list[float]) -> float:
    """The share of the batch's (row, latent) at or beyond a value where the gradient was zero."""
    log_var = outputs_of(lab)[1]
    low = max((raw for raw in dead if raw < 0), default=-math.inf)
    high = min((raw for raw in dead if raw > 0), default=math.inf)
    return float(np.mean((log_var <= low) | (log_var >= high)))
