"""Whether L2, dropout, the KL weight and its annealing have an effect."""

import re
from typing import Any

import keras
import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.laboratory import Laboratory, assign, settings

_WEIGHT = re.compile(r"^_?(kl|kld|beta)$|kl\w*_(weight|coeff?|coefficient|scale|factor|beta)|(beta|weight|lambda|w)_kl")
_ANNEALING = re.compile(r"anneal|warm_?up|ramp|cycl")
_NO_WEIGHT = re.compile(r"max|min|start|end|final|anneal|warm|ramp|epoch|step|cycl|loss|tracker|metric|target")
_SEEN = 1e-5  # relative to the largest gradient


def l2_findings(lab: Laboratory) -> list[Finding]:
    """A regulariser made very strong must change its kernel's gradient."""
    findings = []
    names = {id(v): v.path for v in lab.model.trainable_variables if getattr(v, "regularizer", None) is not None}
    for variable in lab.model.trainable_variables:
        if id(variable) in names:
            gradients = []
            for strength in (0.0, 10.0):
                with lab.experiment():
                    variable.regularizer = keras.regularizers.L2(strength)
                    gradients.append(lab.step().of(variable))
            if np.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7):
                findings.append(names[id(variable)])
    if not findings:
        return []
    return [Finding("l2_inactive", f"L2 of {', '.join(findings)} was set from 0 to 10: no gradient changed.")]


def dropout_findings(lab: Laboratory) -> list[Finding]:
    """A dropout rate set from 0 to 0.9 must change the gradients."""
    dead = []
    for layer in lab.model._flatten_layers():
        if "Dropout" in type(layer).__name__ and isinstance(getattr(layer, "rate", None), int | float) and layer.rate:
            steps = []
            for rate in (0.0, 0.9):
                with lab.experiment():
                    layer.rate = rate
                    steps.append(lab.step())
            if steps[0].distance(steps[1]) < _SEEN:
                dead.append(layer.name)
    if not dead:
        return []
    return [Finding("dropout_inactive", f"The rate of {', '.join(dead)} was set from 0 to 0.9: no gradient changed.")]


def kl_weights(lab: Laboratory) -> list[tuple[Any, str, Any]]:
    """The attributes that are called like a KL weight."""
    found = settings(lab.model)
    return [each for each in found if _WEIGHT.search(each[1].lower()) and not _NO_WEIGHT.search(each[1].lower())]


def active_weights(lab: Laboratory, *, traced: bool = False) -> list[tuple[Any, str, Any]]:
    """Those whose change moves the gradients, be it of a step that was compiled before."""
    active = []
    for weight in kl_weights(lab):
        with lab.experiment():
            lab.set_time()
            lab.hold_latents(1.0, -1.0)
            assign(*weight, 0.5)
            step = lab.traced() if traced else lab.step
            before = step()
            assign(*weight, 5.0)
            if before.distance(step()) > _SEEN:
                active.append(weight)
    return active


def kl_weight_findings(lab: Laboratory) -> list[Finding]:
    """The KL weight set from 0.5 to 5 must change the gradients, after compiling too."""
    weights = kl_weights(lab)
    names = ", ".join(dict.fromkeys(name for _, name, _ in weights))
    if not weights:
        return []
    if not active_weights(lab):
        return [Finding("kl_weight_inactive", f"{names} was set from 0.5 to 5: no gradient changed.")]
    if not lab.model.run_eagerly and not active_weights(lab, traced=True):
        seen = "the compiled step went on with the first value; as a constant it works, annealed it would not"
        return [Finding("kl_weight_frozen", f"{names} was set from 0.5 to 5 after a step was compiled: {seen}.")]
    return []


def kl_pull(lab: Laboratory, time: int | None = None) -> float:
    """What the loss weighs KL with, in nats summed over latents, mean over the batch.

    It is ∂loss/∂z_mean at z_mean = 1, at that time, or past any annealing with KL weights of 1.
    """
    with lab.experiment():
        lab.weigh_fully() if time is None else lab.set_time(time)
        lab.silence_decoder()
        lab.hold_latents(1.0, -1.0)
        return float(np.mean(lab.step().of(lab.mean.bias)))


def annealing_findings(lab: Laboratory) -> list[Finding]:
    """Where annealing is asked for, KL must pull less at first than later, and no more in the end."""
    asked = [name for _, name, _ in settings(lab.model) if _ANNEALING.search(name.lower())]
    asked += [type(callback).__name__ for callback in lab.callbacks]
    pulls = [kl_pull(lab, time) for time in (0, 10**6, 10**7)] if asked else []
    if not any(pulls) or (pulls[0] < 0.99 * pulls[1] and abs(pulls[2] - pulls[1]) <= 0.01 * abs(pulls[1])):
        return []
    seen = f"{pulls[0]:.3g} at step 0, {pulls[1]:.3g} at step 10^6 and {pulls[2]:.3g} at step 10^7"
    return [Finding("annealing_inactive", f"{', '.join(asked)}: the weight of KL in the loss was {seen}.")]
