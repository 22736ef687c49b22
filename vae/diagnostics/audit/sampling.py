"""Heads, noise, and which log-variance is sampled and which is in the KL."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_PROBES = (-25.0, -12.0, -4.0, -1.0, 0.0, 1.0, 4.0, 8.0)  # raw z_log_var
_SAME = 0.1
_SEEN = 0.01  # of the batch


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


@dataclass(frozen=True, slots=True)
class Probe:
    """What noise and KL made of a z_log_var that was set from outside.

    Attributes:
        raw: it.
        sampled: the log-variance of the noise that was decoded; None where there was none.
        gradient: of KL by it, at z_mean 0.
        deviation: how far off that gradient may be where KL is estimated from samples; 0 where it is not.
    """

    raw: float
    sampled: float | None
    gradient: float
    deviation: float

    @property
    def kl(self) -> float:
        """½(e^lv + μ² − 1 − lv) at z_mean 0, in nats."""
        return 0.5 * (math.exp(self.raw) - 1 - self.raw)

    @property
    def expected(self) -> float:
        """KL's gradient: ½(e^lv − 1)."""
        return 0.5 * (math.exp(self.raw) - 1)

    @property
    def is_sampled(self) -> bool:
        """Whether the noise has this log-variance."""
        return self.sampled is not None and abs(self.sampled - self.raw) < _SAME

    @property
    def is_followed(self) -> bool:
        """Whether KL's gradient is right."""
        return abs(self.gradient - self.expected) < self._tolerance

    @property
    def is_opposite(self) -> bool:
        """Whether KL's gradient is right but for its sign."""
        return abs(self.gradient + self.expected) < self._tolerance

    @property
    def is_dead(self) -> bool:
        """Whether there is no gradient."""
        return abs(self.gradient) < 1e-6

    @property
    def _tolerance(self) -> float:
        return max(0.05 * abs(self.expected), self.deviation, 1e-3)


def probe_log_var(lab: Laboratory, pull: float) -> list[Probe]:
    """Noise and KL's gradient at each z_log_var that is tried.

    Args:
        lab: the laboratory.
        pull: the KL's weight, as `kl_pull` gives it, not 0.
    """
    unit = _spread(lab, 0.0)
    again = [_log_var_gradient(lab, 1.0, seed) for seed in (1, 2)]
    is_estimated = abs(again[0] - again[1]) > 1e-4 * max(map(abs, again))
    # The mean of ε² over n draws is off by √(2/n); four of that happen by chance once in 10,000 times.
    relative = 4 * math.sqrt(2 / (len(lab.rows) * lab.latent_dim)) if is_estimated else 0.0
    probes = []
    for raw in _PROBES:
        sampled = 2 * math.log(max(_spread(lab, raw) / unit, 1e-12)) if unit > 1e-6 else None
        gradient = _log_var_gradient(lab, raw) / pull
        probes.append(Probe(raw, sampled, gradient, relative * 0.5 * math.exp(raw)))
    return probes


def kl_form(probes: Sequence[Probe]) -> str | None:
    """What the loss makes of KL: "KL" itself, "free bits" or a "capacity"; None where it is none of them.

    Free bits have no gradient where KL is small, |KL − C| the opposite one.
    """
    wrong = [probe for probe in probes if not probe.is_followed]
    right = [probe for probe in probes if probe.is_followed and probe.raw != 0]
    if not wrong:
        return "KL"
    if right and max(probe.kl for probe in wrong) < min(probe.kl for probe in right):
        if all(probe.is_dead for probe in wrong):
            return "free bits"
        if all(probe.is_opposite for probe in wrong):
            return "capacity"
    return None


def log_var_findings(lab: Laboratory, probes: Sequence[Probe]) -> list[Finding]:
    """The log-variance set from outside must be the same in the noise's size and in the KL's gradient."""
    if kl_form(probes) is not None:
        strangers = [probe for probe in probes if probe.sampled is not None and not probe.is_sampled]
        return [_differs(strangers[0])] if strangers else []
    least = next(probe for probe in probes if probe.raw == 0)
    if all(probe.is_sampled for probe in probes) and (not least.is_followed or all(probe.is_dead for probe in probes)):
        seen = f"its gradient was {least.gradient:.3g} at 0, where KL is least" if not least.is_followed else "none"
        if least.is_followed:
            seen = f"its gradient in KL was 0 at all of {', '.join(f'{probe.raw:g}' for probe in probes)}"
        return [Finding("kl_formula", f"z_log_var was set: {seen}; the noise had the right size.")]
    for probe in probes:
        if probe.sampled is not None and probe.is_sampled != probe.is_followed:
            return [_differs(probe)]
    share = share_beyond(lab, probes)
    dead = [f"{probe.raw:g}" for probe in probes if probe.is_dead and probe.raw != 0]
    if not dead or share < _SEEN:
        return []
    seen = f"its gradient was 0 at {', '.join(dead)}; {share:.0%} of the batch lies there"
    return [Finding("clip_gradient_dead", f"z_log_var was set from {_PROBES[0]:g} to {_PROBES[-1]:g}: {seen}.")]


def log_var_clip(lab: Laboratory, probes: Sequence[Probe]) -> str | None:
    """The bounds at which noise and KL stop following z_log_var, and how much of the batch lies beyond."""
    low, high = _bounds(probes)
    if kl_form(probes) is not None or (low == -math.inf and high == math.inf):
        return None
    return f"{low:.3g} to {high:.3g}, {share_beyond(lab, probes):.0%} of the batch beyond"


def share_beyond(lab: Laboratory, probes: Sequence[Probe]) -> float:
    """The share of the batch's (row, latent) whose log-variance, as its head gives it, lies at a clip or beyond."""
    low, high = _bounds(probes)
    given: list[np.ndarray] = []
    call = lab.log_var.call

    def keep(*arguments: Any, **keywords: Any) -> Any:
        output = call(*arguments, **keywords)
        given.append(keras.ops.convert_to_numpy(output))
        return output

    object.__setattr__(lab.log_var, "call", keep)
    try:
        outputs_of(lab)
    finally:
        object.__delattr__(lab.log_var, "call")
    return float(np.mean((given[-1] <= low) | (given[-1] >= high)))


def _bounds(probes: Sequence[Probe]) -> tuple[float, float]:
    """Where noise and KL are clipped, from the noise at the outermost that are tried; infinite where not both are."""
    low, high = (None if not probe.is_dead or probe.is_sampled else probe.sampled for probe in (probes[0], probes[-1]))
    return -math.inf if low is None else low, math.inf if high is None else high


def _differs(probe: Probe) -> Finding:
    in_kl = "had no gradient" if probe.is_dead else f"had gradient {probe.gradient:.3g}"
    if not probe.is_dead and not probe.is_followed:
        in_kl += f" where {probe.expected:.3g} is right"
    size = f"at {probe.raw:g} the noise had the size of {probe.sampled:.3g}"
    return Finding("log_var_differs", f"z_log_var was set: {size} and the KL {in_kl}.")


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


def _log_var_gradient(lab: Laboratory, log_var: float, *seed: int) -> float:
    with lab.experiment():
        lab.weigh_fully()
        lab.silence_decoder()
        lab.hold_latents(0.0, log_var)
        return float(np.mean(lab.step(*seed).of(lab.log_var.bias)))
