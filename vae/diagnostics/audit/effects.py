"""Whether L2, dropout, the KL weight and its annealing have an effect, and whether both networks are trained."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from klsearch.vae.diagnostics.audit.findings import Finding
from klsearch.vae.diagnostics.audit.fits import Moment, own_callbacks
from klsearch.vae.diagnostics.audit.kl import BETWEEN, FAR, NARROW, kl_strength
from klsearch.vae.diagnostics.audit.laboratory import Laboratory, assign, number_of, settings

_WEIGHT = re.compile(r"^_?(kl|kld|beta)$|kl\w*_(weight|coeff?|coefficient|scale|factor|beta)|(beta|weight|lambda|w)_kl")
_ANNEALING = re.compile(r"anneal|warm_?up|ramp|cycl")
_NO_WEIGHT = re.compile(r"max|min|start|end|final|anneal|warm|ramp|epoch|step|cycl|loss|tracker|metric|target")
_SEEN = 1e-5  # relative to the largest gradient
_TIMES = (0, 10**6, 10**7)  # steps or epochs


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
            lab.go_late()
            lab.hold_latents(FAR, NARROW)
            assign(*weight, 0.5)
            step = lab.traced() if traced else lab.step
            before = step()
            by_itself = before.distance(step())  # by noise that no seed reaches
            assign(*weight, 5.0)
            if before.distance(step()) > _SEEN + 3 * by_itself:
                active.append(weight)
    return active


def kl_weight_findings(lab: Laboratory) -> list[Finding]:
    """The KL weight set from 0.5 to 5 must change the gradients, after compiling too."""
    weights = kl_weights(lab)
    if not weights:
        return []
    active = active_weights(lab)
    if not active:
        return [Finding("kl_weight_inactive", f"{_names(weights)} was set from 0.5 to 5: no gradient changed.")]
    kept = [] if lab.model.run_eagerly else [(id(each[0]), each[1]) for each in active_weights(lab, traced=True)]
    frozen = [] if lab.model.run_eagerly else [each for each in active if (id(each[0]), each[1]) not in kept]
    if not frozen:
        return []
    seen = "the compiled step went on with the first value; as a constant it works, annealed it would not"
    return [Finding("kl_weight_frozen", f"{_names(frozen)} was set from 0.5 to 5 after a step was compiled: {seen}.")]


def strength_at(lab: Laboratory, time: int) -> float:
    """The weight of KL in the loss at a step or epoch, with the weights that the model holds."""
    with lab.experiment():
        lab.set_time(time)
        return kl_strength(lab)


def annealing_findings(lab: Laboratory, moments: Sequence[Moment]) -> list[Finding]:
    """Where annealing is asked for, the weight of KL must move, and not grow without end.

    Args:
        lab: the laboratory.
        moments: of a fit with the callbacks, as `play_fit` gives them.
    """
    asked = [
        name for _, name, value in settings(lab.model) if _ANNEALING.search(name.lower()) and number_of(value) != 0
    ]
    asked += [type(callback).__name__ for callback in own_callbacks(lab)]
    if not asked:
        return []
    first, late, later = (strength_at(lab, time) for time in _TIMES)
    names = ", ".join(dict.fromkeys(asked))
    if late and abs(later - 10 * late) <= 0.01 * abs(later):
        seen = f"{first:.3g} at step 0, {late:.3g} at step 10^6 and {later:.3g} at step 10^7, without end"
        return [Finding("annealing_inactive", f"{names}: the weight of KL in the loss was {seen}.")]
    if _moves(first, late, later) or _moves(*(each.strength for each in moments)):
        return []
    if _moves(first, *(strength_at(lab, time) for time in BETWEEN)):
        return []
    played = f" and at {len(moments)} moments of a fit with the callbacks" if moments else ""
    seen = f"{first:.3g} at {len(_TIMES) + len(BETWEEN)} steps from 0 to 10^7{played}"
    return [Finding("annealing_inactive", f"{names}: the weight of KL in the loss was {seen}.")]


def training_findings(lab: Laboratory) -> list[Finding]:
    """Of encoder and decoder, some weight must get a gradient."""
    still = []
    for name in ("encoder", "decoder"):
        variables = getattr(lab, name).trainable_variables
        with lab.experiment():
            lab.go_late()
            before = [np.copy(variable.numpy()) for variable in variables]
            applied = lab.step().applied
            is_moved = any(not np.array_equal(a, v.numpy()) for a, v in zip(before, variables, strict=True))
        if variables and not is_moved and not any(np.any(applied.get(id(each), 0)) for each in variables):
            still.append(f"of the {name}'s {len(variables)} trainable weights none got a gradient")
    return [Finding("network_untrained", f"One step was taken: {'; '.join(still)}.")] if still else []


def _names(weights: Sequence[tuple[Any, str, Any]]) -> str:
    return ", ".join(dict.fromkeys(name for _, name, _ in weights))


def _moves(*strengths: float) -> bool:
    largest = max(map(abs, strengths), default=0.0)
    return bool(strengths) and max(strengths) - min(strengths) > 0.01 * largest
