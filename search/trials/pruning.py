"""Pruning of trials that need not be trained to their end. Annealed trainings do not compare by epoch alone."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set

import numpy as np

from klsearch.search.trials.score import score
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import final_kl
from klsearch.vae.hyperparameters import Hyperparameters


class Pruner(ABC):
    """Ends a trial whose score so far is worse than the median of others' when they had come as far.

    What is compared is the study's score of the epoch: validation `unexplained`, with the penalty for a KL outside the
    band, as if training had ended there. KL spikes while its weight is annealed, and a slow annealer looks good early,
    so a trial is looked at only at its full KL weight. Nothing is ended before there are some to compare with.

    A trial is compared with those that its suggestion rests on: what else has ended by then decides nothing, so that
    the course of a study is the same however many train at a time. (In a study without a lag, with all that ended.)

    Args:
        definition: how a trial is scored, and how long it trains.
        lag: a trial is compared with those at least so far before it; 0 for all.
    """

    _least = 10  # trials to compare with

    def __init__(self, definition: StudyDefinition, *, lag: int = 0) -> None:
        self._study, self._thresholds = definition.study, definition.thresholds()
        self._latents = definition.model.latent_dim
        self._lag = lag
        self._window = definition.gates.window
        self._epochs = definition.training.epochs
        self._references: dict[int, Mapping[int, float]] = {}  # by trial, what `_compared` gives

    @property
    def known(self) -> Set[int]:
        """Numbers of the trials that it has learnt from."""
        return self._references.keys()

    def learn(self, number: int, hyperparameters: Hyperparameters, curves: TrainingCurves) -> None:
        """Compare later trials with this one, as far as it goes."""
        self._references[number] = self._compared(hyperparameters, curves)

    @abstractmethod
    def looks_at(self, hyperparameters: Hyperparameters, epoch: int) -> bool:
        """Tell whether a trial may be ended after that epoch."""

    def ends(self, number: int, hyperparameters: Hyperparameters, curves: TrainingCurves) -> bool:
        """Tell whether a trial that has come so far, and is looked at now, is to be ended."""
        last = number - self._lag if self._lag else math.inf
        place = self._place(hyperparameters, curves.epochs)
        compared = [scores[place] for other, scores in self._references.items() if other <= last and place in scores]
        return len(compared) >= self._least and self._score(curves, curves.epochs) > float(np.median(compared))

    @abstractmethod
    def _place(self, hyperparameters: Hyperparameters, epoch: int) -> int:
        """What an epoch of a trial is compared by: trials are compared where they had come to the same."""

    @abstractmethod
    def _compared(self, hyperparameters: Hyperparameters, curves: TrainingCurves) -> dict[int, float]:
        """Scores by place of a trial that has ended, where others are compared with it."""

    def _score(self, curves: TrainingCurves, epoch: int) -> float:
        so_far = TrainingCurves.from_rows(curves.as_rows()[:epoch])
        kl = self._thresholds.banded_kl(final_kl(so_far, self._thresholds.window), self._latents)
        unexplained = float(curves.validation_unexplained[epoch - 1])
        return score(unexplained=unexplained, kl=kl, band=self._thresholds.kl_band, penalty=self._study.penalty)


class MedianPruner(Pruner):
    """Compares with trials that were trained to their end, at the same epoch: Google Vizier's and Optuna's median rule.

    A trial is looked at first when a third of the training has passed at its full KL weight, then every sixth, and is
    compared with trials that had been at theirs for the gates' window by then.
    """

    def looks_at(self, hyperparameters: Hyperparameters, epoch: int) -> bool:
        """Tell whether a trial may be ended after that epoch."""
        since_first = epoch - hyperparameters.annealing_epochs - max(self._window, math.ceil(self._epochs / 3))
        return 0 <= since_first and since_first % max(1, self._epochs // 6) == 0 and epoch < self._epochs

    def _place(self, hyperparameters: Hyperparameters, epoch: int) -> int:
        del hyperparameters
        return epoch

    def _compared(self, hyperparameters: Hyperparameters, curves: TrainingCurves) -> dict[int, float]:
        if curves.epochs < self._epochs or curves.diverged:
            return {}
        first = hyperparameters.annealing_epochs + self._window
        return {epoch: self._score(curves, epoch) for epoch in range(first, self._epochs)}


class HalvingPruner(Pruner):
    """Compares with all that came as far at full KL weight, those that ended there too: successive halving.

    Half of the trials go on after a quarter of the training at their full KL weight, half of those after another
    quarter. Each is judged as it comes there, for whoever waits for the others keeps a slot idle (asynchronous
    successive halving, Li et al. 2020, with a factor of 2). What diverged before it came as far is behind all others.
    """

    _least = 4  # as many as leave one when they are halved twice

    def looks_at(self, hyperparameters: Hyperparameters, epoch: int) -> bool:
        """Tell whether a trial may be ended after that epoch."""
        return epoch < self._epochs and self._place(hyperparameters, epoch) in self._rungs()

    def _place(self, hyperparameters: Hyperparameters, epoch: int) -> int:
        return epoch - hyperparameters.annealing_epochs

    def _compared(self, hyperparameters: Hyperparameters, curves: TrainingCurves) -> dict[int, float]:
        found = dict.fromkeys(self._rungs(), math.inf) if curves.diverged else {}
        length = curves.epochs - curves.diverged  # without the epoch in which it diverged
        for rung in self._rungs():
            if hyperparameters.annealing_epochs + rung <= length:
                found[rung] = self._score(curves, hyperparameters.annealing_epochs + rung)
        return found

    def _rungs(self) -> tuple[int, int]:
        first = max(self._window, math.ceil(self._epochs / 4))
        return first, 2 * first


PRUNERS: Mapping[str, type[Pruner]] = {"median": MedianPruner, "successive_halving": HalvingPruner}
