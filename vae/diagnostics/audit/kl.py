"""What the loss weighs KL with, and whether its gradient reaches the encoder at all."""

import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

BETWEEN = (7, 77, 777, 7_777, 77_777)  # steps or epochs; a cycle is at its start at all of them only by chance
FAR = 10.0  # z_mean, beyond any free bits or capacity of KL
_NEAR, _FARTHER = 1.0, 20.0
NARROW = -10.0  # z_log_var at which a sample is its mean, so that a KL estimated from samples has no noise


def kl_strength(lab: Laboratory, mean: float = FAR) -> float:
    """∂loss/∂z_mean over z_mean at the present settings, mean over the batch: 1 for a KL of weight 1."""
    with lab.experiment():
        lab.silence_decoder()
        lab.hold_latents(mean, NARROW)
        return float(np.mean(lab.step().of(lab.mean.bias))) / mean


def find_late(lab: Laboratory) -> None:
    """Let `lab.late` be a time at which KL pulls, where it does not at the usual one, as where a cycle begins."""
    usual = lab.late
    for time in (usual, *BETWEEN):
        with lab.experiment():
            lab.late = time
            lab.weigh_fully()
            if kl_strength(lab) != 0:
                return
    lab.late = usual


def kl_pull(lab: Laboratory) -> float | None:
    """What the loss weighs KL with, in nats summed over latents, mean over the batch.

    It holds past any annealing with KL weights of 1, and beyond free bits or a capacity; None where the weight changes
    with KL itself.
    """
    with lab.experiment():
        lab.weigh_fully()
        near, far = kl_strength(lab, _NEAR), kl_strength(lab, FAR)
        if _is_close(near, far) or _is_close(far, kl_strength(lab, _FARTHER)):
            return near if far == 0 else far
        return near if far == 0 else None


def kl_findings(pull: float | None) -> list[Finding]:
    """KL must pull at z_mean, and towards 0.

    Args:
        pull: the KL's weight, as `kl_pull` gives it.
    """
    if pull is None or pull > 0:
        return []
    if pull == 0:
        seen = f"z_mean was set to {_NEAR:g} and to {FAR:g}: the loss had no gradient by it but the reconstruction's"
        return [Finding("kl_without_pull", f"{seen}.")]
    return [Finding("kl_sign_wrong", f"z_mean was set to {FAR:g}: the loss falls as it grows, so KL is maximised.")]


def _is_close(a: float, b: float) -> bool:
    return abs(a - b) <= 0.01 * max(abs(a), abs(b))
