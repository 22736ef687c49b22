"""Pruning of trials that need not be trained to their end. Annealed trainings do not compare by epoch alone."""

import math
from collections.abc import Set

import numpy as np

from klsearch.search.trials.score import score
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import final_kl
from klsearch.vae.hyperparameters import Hyperparameters

_LEAST_REFERENCES = 10


class MedianPruner:
    """Ends a trial whose score so far is worse than the median of whole trials' scores at the same epoch.

    The rule is that of Google Vizier and of Optuna's median pruner. What is compared is the study's score of the
    epoch: validation `unexplained`, with the penalty for a KL outside the band, as if training had ended there. KL
    spikes while its weight is annealed, and a slow annealer looks good early. So a trial is looked at first when a
    third of the training has passed at its full KL weight, then every sixth, and is compared with trials that had been
    at theirs for the gates' window by then. Nothing is ended before there are ten to compare with.

    A trial is compared with those that its suggestion rests on: what else has ended by then decides nothing, so that
    the course of a study is the same however many train at a time. (In a study without a lag, with all that ended.)

    Args:
        definition: how a trial is scored, and how long it trains.
        lag: a trial is compared with those at least so far before it; 0 for all.
    """

    def __init__(self, definition: StudyDefinition, *, lag: int = 0) -> None:
        self._definition = definition
        self._lag = lag
        self._epochs = definition.training.epochs
        self._first = max(definition.gates.window, math.ceil(self._epochs / 3))
        self._every = max(1, self._epochs // 6)
        self._references: dict[int, np.ndarray] = {}  # scores by epoch, NaN where they are not to be compared with

    @property
    def known(self) -> Set[int]:
        """Numbers of the trials to compare with."""
        return self._references.keys()

    def learn(self, number: int, hyperparameters: Hyperparameters, curves: TrainingCurves) -> None:
        """Compare later trials with this one, if it was trained to its end."""
        if curves.epochs < self._epochs or curves.diverged:
            return
        scores = np.full(self._epochs + 1, np.nan)
        for epoch in range(hyperparameters.annealing_epochs + self._definition.gates.window, self._epochs):
            scores[epoch] = self._score(curves, epoch)
        self._references[number] = scores

    def looks_at(self, hyperparameters: Hyperparameters, epoch: int) -> bool:
        """Tell whether a trial may be ended after that epoch."""
        since_first = epoch - hyperparameters.annealing_epochs - self._first
        return 0 <= since_first and since_first % self._every == 0 and epoch < self._epochs

    def ends(self, number: int, curves: TrainingCurves) -> bool:
        """Tell whether a trial that has come so far, and is looked at now, is to be ended."""
        last = number - self._lag if self._lag else math.inf
        compared = np.array([scores[curves.epochs] for other, scores in self._references.items() if other <= last])
        compared = compared[~np.isnan(compared)]
        return compared.size >= _LEAST_REFERENCES and self._score(curves, curves.epochs) > float(np.median(compared))

    def _score(self, curves: TrainingCurves, epoch: int) -> float:
        study, thresholds = self._definition.study, self._definition.thresholds()
        so_far = TrainingCurves.from_rows(curves.as_rows()[:epoch])
        kl = thresholds.banded_kl(final_kl(so_far, thresholds.window), self._definition.model.latent_dim)
        unexplained = float(curves.validation_unexplained[epoch - 1])
        return score(unexplained=unexplained, kl=kl, band=thresholds.kl_band, penalty=study.penalty)
