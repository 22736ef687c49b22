"""Heads, noise, and which log-variance is sampled and which is in the KL."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory

_PROBES = (-25.0, -12.0, -4.0, -1.0, 0.0, 1.0, 4.0, 8.0, 12.0, 25.0)  # raw z_log_var
_BIAS = 0.5  # of a head
_LARGE = 8.0  # up to which any precision holds e^z_log_var
_SAME = 0.1
_STILL = 1e-6
_AT_0 = "At z_mean 0 and z_log_var 0"
_SEEN = 0.01  # of the batch


def head_findings(lab: Laboratory) -> list[Finding]:
    """A head whose bias is ±0.5, and nothing else, must give ±0.5."""
    bent = []
    for name in ("z_mean", "z_log_var"):
        bent += [
            f"{value:g} before {name} came out of the encoder as another value"
            for value in (-_BIAS, _BIAS)
            if not _comes_out(lab, name, value) and not (name == "z_log_var" and _is_clipped(lab, value))
        ]
    if all("z_log_var" in each for each in bent) and gives_scale(lab):
        return []
    return [Finding("heads_activated", f"The heads were set: {'; '.join(bent)}.")] if bent else []


def gives_scale(lab: Laboratory) -> bool:
    """Whether the second head, through a softplus or exp say, gives the noise's standard deviation or variance."""
    sizes = []
    for value in (-_BIAS, _BIAS):
        sizes.append([_spread(lab, value), *_still_outputs(lab, "z_log_var", value)])
    if len(sizes[0]) != len(sizes[1]):
        return False
    grown = sizes[1][0] - sizes[0][0], sizes[1][0] ** 2 - sizes[0][0] ** 2
    return any(
        low > 0 and high - low > _STILL and any(abs(each / (high - low) - 1) < 0.2 for each in grown)
        for low, high in zip(sizes[0][1:], sizes[1][1:], strict=True)
    )


def _is_clipped(lab: Laboratory, value: float) -> bool:
    """Whether a value comes out as a much larger one does, but a much smaller one as itself: a clip, no activation."""
    given, farther = (_still_outputs(lab, "z_log_var", each) for each in (value, 10 * value))
    return bool(given) and given == farther and _comes_out(lab, "z_log_var", value / 10)


def _comes_out(lab: Laboratory, name: str, value: float) -> bool:
    return any(abs(each - value) < 1e-4 for each in _still_outputs(lab, name, value))


def _still_outputs(lab: Laboratory, name: str, value: float) -> list[float]:
    """With a head held at a value, what the encoder gives that is the same in every row and latent."""
    with lab.experiment():
        lab.hold_latents(*((value, 0.3) if name == "z_mean" else (0.3, value)))
        return [float(output.flat[0]) for output in outputs_of(lab) if np.ptp(output) < 1e-4]


def noise_findings(lab: Laboratory) -> list[Finding]:
    """At z_mean = 0 and z_log_var = 0, what is decoded must scatter over rows and steps, and in validation."""
    with lab.experiment():
        lab.hold_latents(0.0, 0.0)
        z = lab.step().z
    if z is None:
        return []
    if _is_same_in_rows(z):
        return [Finding("noise_unused", f"{_AT_0} the decoder was given {_alike(z)}: no noise of its own.")]
    if _is_drawn_once(lab):
        seen = "the same in two steps, one after the other: noise that is drawn once"
        return [Finding("noise_unused", f"{_AT_0} the decoder was given {seen}.")]
    validated = _validated(lab)
    if validated and all(map(_is_same_in_rows, validated)):
        return [Finding("validation_uses_mean", f"{_AT_0} test_step decoded {_alike(validated[0])}.")]
    return []


def _alike(z: np.ndarray) -> str:
    return "0 in every row" if np.all(np.abs(z) < _STILL) else "the same in every row"


def _is_same_in_rows(z: np.ndarray) -> bool:
    return float(np.max(np.std(z, axis=0), initial=0.0)) < _STILL


def _is_drawn_once(lab: Laboratory) -> bool:
    """Whether two steps decode the same noise, as where NumPy's is drawn while `fit` compiles, or with a fixed seed."""
    with lab.experiment(), suppress(Exception):  # whatever a step raises that only runs uncompiled
        lab.hold_latents(0.0, 0.0)
        if lab.model.run_eagerly:
            first, second = lab.step(1).z, lab.step(2).z
        else:
            step = lab.traced(is_seeded=False)
            first, second = step().z, step().z
        return first is not None and second is not None and np.array_equal(first, second)
    return False


def _validated(lab: Laboratory) -> list[np.ndarray]:
    """What `test_step` decodes of the rows at z_mean 0 and z_log_var 0; draws of the prior do not move with z_mean."""
    found = []
    for mean in (0.0, 1.0):
        with lab.experiment():
            lab.hold_latents(mean, 0.0)
            found.append(lab.validation_zs())
    return [z for z, moved in zip(*found, strict=False) if not np.array_equal(z, moved)]


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
    unit = _unit(lab)
    again = [_log_var_gradient(lab, 1.0, seed) for seed in (1, 2)]
    is_estimated = abs(again[0] - again[1]) > 1e-4 * max(map(abs, again))
    # The mean of ε² over n draws is off by √(2/n); four of that happen by chance once in 10,000 times.
    relative = 4 * math.sqrt(2 / (len(lab.rows) * lab.latent_dim)) if is_estimated else 0.0
    probes = []
    for raw in _PROBES:
        spread, gradient = _spread(lab, raw), _log_var_gradient(lab, raw) / pull
        if raw > _LARGE and not math.isfinite(spread + gradient):
            continue  # more than a low precision holds
        sampled = 2 * math.log(max(spread / unit, 1e-12)) if unit > _STILL else None
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
        if len(strangers) == len(probes) and _is_shifted(probes):
            size = math.exp(_shift(probes[0]) / 2)
            return [Finding("noise_scaled", f"{_AT_0} the noise had a standard deviation of {size:.2g}, not 1.")]
        return [_differs(min(strangers, key=lambda probe: abs(probe.raw - 1)))] if strangers else []
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
    return [Finding("clip_gradient_dead", f"z_log_var was set from {probes[0].raw:g} to {probes[-1].raw:g}: {seen}.")]


def log_var_clip(lab: Laboratory, probes: Sequence[Probe]) -> str | None:
    """The bounds at which noise and KL stop following z_log_var, and how much of the batch lies beyond."""
    low, high = _bounds(probes)
    if kl_form(probes) is not None or (low == -math.inf and high == math.inf):
        return None
    least = f"below {probes[0].raw:g}" if low == -math.inf else f"{low:.3g}"
    most = f"above {probes[-1].raw:g}" if high == math.inf else f"{high:.3g}"
    return f"{least} to {most}, {share_beyond(lab, probes):.0%} of the batch beyond"


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


def _shift(probe: Probe) -> float:
    return (probe.sampled or 0.0) - probe.raw


def _is_shifted(probes: Sequence[Probe]) -> bool:
    """Whether the noise's log-variance is off by the same everywhere."""
    return max(map(_shift, probes)) - min(map(_shift, probes)) < _SAME


def _differs(probe: Probe) -> Finding:
    in_kl = "had no gradient" if probe.is_dead else f"had gradient {probe.gradient:.3g}"
    if not probe.is_dead and not probe.is_followed:
        in_kl += f" where {probe.expected:.3g} is right"
    size = f"at {probe.raw:g} the noise had the size of {probe.sampled:.3g}"
    return Finding("log_var_differs", f"z_log_var was set: {size} and the KL {in_kl}.")


def outputs_of(lab: Laboratory) -> list[np.ndarray]:
    """What the encoder gives for the batch, without dropout."""
    outputs = lab.encoder(lab.rows, training=False)
    return [
        keras.ops.convert_to_numpy(output) for output in (outputs.values() if isinstance(outputs, dict) else outputs)
    ]


def _spread(lab: Laboratory, log_var: float) -> float:
    """The standard deviation over rows of what is decoded in training at z_mean 0, of latents that have noise."""
    with lab.experiment():
        lab.hold_latents(0.0, log_var)
        z = lab.step().z
    if z is not None and not np.all(np.isfinite(z)):
        return math.inf
    variances = np.zeros(1) if z is None else np.var(z.astype(float), axis=0)
    return float(np.sqrt(np.mean(variances[variances > 0]))) if np.any(variances) else 0.0


def _unit(lab: Laboratory) -> float:
    """The size of standard noise: that at z_log_var 0, if it is 1 but for chance, else how far z_mean moves z."""
    spread = _spread(lab, 0.0)
    given = []
    for mean in (0.0, 1.0):
        with lab.experiment():
            lab.hold_latents(mean, 0.0)
            given.append(lab.step().z)
    if given[0] is None or given[1] is None or spread < _STILL:
        return 0.0
    moves = np.abs(given[1] - given[0])
    right = float(np.median(moves[moves > _STILL])) if np.any(moves > _STILL) else spread
    # The standard deviation of n draws is off by √(1/2n); four of that happen by chance once in 10,000 times.
    chance = 4 * math.sqrt(1 / (2 * len(lab.rows) * lab.latent_dim))
    return spread if abs(spread / right - 1) < chance else right


def _log_var_gradient(lab: Laboratory, log_var: float, *seed: int) -> float:
    with lab.experiment():
        lab.weigh_fully()
        lab.silence_decoder()
        lab.hold_latents(0.0, log_var)
        return float(np.mean(lab.step(*seed).of(lab.log_var.bias)))
