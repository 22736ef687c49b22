"""Sampling what to try next: the only place that asks a sampler."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from klsearch.search.seeds import sampler_seed
from klsearch.studies.definitions.space import Range


class Suggestion(NamedTuple):
    """Values of the searched hyperparameters, with the ranges that they were drawn from."""

    params: dict[str, float]
    distributions: dict[str, BaseDistribution]


def distributions_of(ranges: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each range."""
    return {
        name: IntDistribution(int(r.low), int(r.high), log=r.log)
        if r.integer
        else FloatDistribution(r.low, r.high, log=r.log)
        for name, r in ranges.items()
    }


class _JointTPE(TPESampler):
    """Optuna's TPE over all hyperparameters jointly, for several trials at a time.

    It is told which space they span. Left to find out which hyperparameters the trials have in common, a sampler that
    is new for each trial compares all of them each time: a third of its time at 1,000 trials.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(multivariate=True, constant_liar=True, seed=seed)
        self._space = {name: kind for name, kind in sorted(distributions.items()) if not kind.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The hyperparameters that are suggested jointly."""
        del study, trial
        return self._space


class Advisor:
    """Suggests trials from the history of a study, held in memory.

    A suggestion is a function of the study's seed, the trial's number and the history as of `learn` and of earlier
    `suggest`s: never of the wall clock, so a resumed study goes on as an uninterrupted one would.

    Args:
        kind: "tpe", "random" or "qmc".
        ranges: what is searched.
        seed: the study's seed.
    """

    def __init__(self, kind: str, ranges: Mapping[str, Range], seed: int) -> None:
        self._kind = kind
        self._distributions = distributions_of(ranges)
        self._seed = seed
        self._history = optuna.create_study(sampler=RandomSampler())

    def learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Take the trials of the storage, in ascending number, for the whole history."""
        self._history = optuna.create_study(sampler=RandomSampler())
        self._history.add_trials(trials)

    def suggest(self, given: Mapping[str, float] | None = None) -> Suggestion:
        """The next trial's settings, or the `given` ones; until the next `learn` it counts as running."""
        number = len(self._history.get_trials(deepcopy=False))
        if given is None and self._kind == "qmc":
            given = self._sobol(number)
        if given is not None:
            self._history.enqueue_trial(dict(given))
        self._history.sampler = self._sampler(number)
        trial = self._history.ask()
        params = {name: _suggest(trial, name, range_) for name, range_ in self._distributions.items()}
        return Suggestion(params, self._distributions)

    def _sampler(self, number: int) -> BaseSampler:
        seed = sampler_seed(self._seed, number)
        if self._kind == "tpe":
            return _JointTPE(self._distributions, seed)
        return RandomSampler(seed=seed)

    def _sobol(self, number: int) -> dict[str, float]:
        """The `number`-th point of a scrambled Sobol sequence, mapped onto the ranges."""
        sequence = qmc.Sobol(len(self._distributions), scramble=True, rng=sampler_seed(self._seed, 0))
        if number:  # SciPy cannot skip no points
            sequence.fast_forward(number)
        point = sequence.random(1)[0]
        return {
            name: _value_at(distribution, share)
            for (name, distribution), share in zip(self._distributions.items(), point.tolist(), strict=True)
        }


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> float:
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _value_at(distribution: BaseDistribution, share: float) -> float:
    """The value that lies at `share` of a distribution's range, on its own scale."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    end = high + 1 if isinstance(distribution, IntDistribution) else high  # every whole number gets its share
    value = low * (end / low) ** share if distribution.log else low + share * (end - low)
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else value
