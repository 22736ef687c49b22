"""What the callbacks that came with a model make of its KL weight, called as `fit` calls them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from klsearch.vae.diagnostics.audit.kl import kl_strength
from klsearch.vae.diagnostics.audit.laboratory import AuditProblem, Laboratory, number_of
from klsearch.vae.diagnostics.audit.recording import count_steps
from klsearch.vae.host.own_code import with_line

_EPOCHS, _BATCHES = 24, 50  # of the fit that is played
_BATCHES_SEEN = (0, _BATCHES // 2)  # after how many of an epoch the weight is looked at
_LATER = (100, 1_000, 1_000_000)  # epochs that follow


@dataclass(frozen=True, slots=True)
class Moment:
    """The weight of KL in the loss at a moment of a fit."""

    when: str
    strength: float


def play_fit(lab: Laboratory) -> list[Moment]:
    """The KL's weight over a fit in which callbacks act and nothing is learned; empty without callbacks of their own.

    The laboratory remembers the settings of the moment at which KL weighed most.

    Raises:
        AuditProblem: a callback fails in the first epoch, with its line.
    """
    callbacks = own_callbacks(lab)
    if not callbacks:
        return []
    moments: list[Moment] = []
    with lab.experiment():
        before = {(id(holder), name): (holder, number_of(value)) for holder, name, value in lab.settings()}
        for when in _moments(lab, callbacks):
            moments.append(Moment(when, kl_strength(lab)))
            if moments[-1].strength > max((each.strength for each in moments[:-1]), default=0.0):
                lab.raised = [
                    (holder, name, value, number_of(value))
                    for holder, name, value in lab.settings()
                    if before.get((id(holder), name), (holder, None))[1] not in (None, number_of(value))
                ]
        for holder, name, _ in lab.settings():
            if (id(holder), name) not in before:
                delattr(holder, name)  # a callback made it
    return moments


def own_callbacks(lab: Laboratory) -> list[Any]:
    """Those that are no Keras callbacks as they come, which do not set a KL weight and may write files."""
    return [
        each
        for each in lab.callbacks
        if isinstance(each, keras.callbacks.LambdaCallback) or not type(each).__module__.startswith("keras.")
    ]


def _moments(lab: Laboratory, callbacks: list[Any]) -> Iterator[str]:
    """Call the callbacks through a fit; stops at each moment that is to be looked at, with words for it."""
    logs = lab.logs()

    def tell(hook: str, *arguments: Any) -> None:
        for callback in callbacks:
            try:
                getattr(callback, hook)(*arguments)
            except Exception as error:
                where = f"{hook}({', '.join(str(each) for each in arguments[:-1])})"
                raise AuditProblem(
                    f"the callback {type(callback).__name__} failed in {where}: {with_line(error, Path.cwd())}"
                ) from error

    for callback in callbacks:
        callback.set_params({"epochs": _EPOCHS, "steps": _BATCHES, "verbose": 0})
        callback.set_model(lab.model)
    tell("on_train_begin", {})
    for epoch in (*range(_EPOCHS), *_LATER):
        try:
            tell("on_epoch_begin", epoch, {})
            for batch in range(_BATCHES):
                for optimizer in lab.optimizers:
                    count_steps(optimizer, epoch * _BATCHES + batch, of_batches=True)
                tell("on_train_batch_begin", batch, {})
                if batch in _BATCHES_SEEN and (batch == 0 or epoch == 0):
                    yield f"epoch {epoch}, batch {batch}"
                tell("on_train_batch_end", batch, dict(logs))
            tell("on_epoch_end", epoch, dict(logs))
        except AuditProblem:
            if epoch == 0:
                raise
            return  # they may be made for fewer epochs
