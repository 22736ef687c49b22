"""Sampling what to try next: the only place that asks a sampler."""

import math
from bisect import insort
from collections.abc import Container, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.seeds import sampler_seed
from klsearch.search.storage.row_attributes import is_warm_start
from klsearch.search.storage.rows import FINISHED
from klsearch.studies.definitions.space import Options, Range

# Finished trials that a sampler looks at, and of those the best ones that are always among them: as many as TPE ever
# forms its density of the good from.
MOST_LOOKED_AT, _BEST_LOOKED_AT = 1500, 25


class Suggestion(NamedTuple):
    """Values of the searched hyperparameters, with the ranges that they were drawn from."""

    params: dict[str, float | str]
    distributions: dict[str, BaseDistribution]


def distributions_of(sampled: Mapping[str, Range | Options]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each range, and of each choice."""
    return {name: _distribution(one) for name, one in sampled.items()}


def _distribution(space: Range | Options) -> BaseDistribution:
    if isinstance(space, tuple):
        return CategoricalDistribution(space)
    if space.integer:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


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


class _Shown(InMemoryStorage):
    """A storage of the trials that a sampler is to look at; what it notes there is dropped."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials themselves, however they are asked for: samplers change none."""
        del study_id, deepcopy
        return [trial for trial in self._trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Pass over it."""
        del trial_id, key, value


class _History:
    """The trials of a study, as far as a sampler looks at them; each is taken in once when it is closed.

    TPE takes a time in proportion to the trials that it looks at. Of more than `MOST_LOOKED_AT` finished ones it is
    shown the best, so that its density of the good is the one of all, and for its density of the others so many that
    lie evenly between the first and the latest.

    Attributes:
        count: of all trials, whatever became of them; the next one's number.
    """

    def __init__(self, lag: int) -> None:
        self.count = 0
        self._lag = lag
        self._finished: list[FrozenTrial] = []  # in ascending number
        self._best: list[FrozenTrial] = []  # of those, the best first
        self._open: dict[int, FrozenTrial] = {}

    def learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in the trials of a study, in ascending number, for all that there are."""
        numbers = [*(number for number in self._open if number < len(trials)), *range(self.count, len(trials))]
        self.count, self._open = len(trials), {}
        for number in numbers:
            if trials[number].state is not TrialState.FAIL:
                self._open[number] = trials[number]

    def add(self, trial: FrozenTrial) -> None:
        """Add the next one, which is not in the storage yet: until the next `learn` it counts as running."""
        self._open[self.count] = trial
        self.count += 1

    def looked_at(self) -> list[FrozenTrial]:
        """The trials that the next suggestion looks at, in ascending number: those within the lag as running ones."""
        for number, trial in list(self._open.items()):
            if trial.state in FINISHED and (number <= self.count - self._lag or is_warm_start(trial)):
                essence = _Essence(self._open.pop(number), number)
                insort(self._finished, essence, key=_number)
                insort(self._best, essence, key=_rank)
                del self._best[_BEST_LOOKED_AT:]
        return sorted([*self._shown(), *(_running(trial, n) for n, trial in self._open.items())], key=_number)

    def _shown(self) -> list[FrozenTrial]:
        """The finished trials to look at."""
        if len(self._finished) <= MOST_LOOKED_AT:
            return self._finished
        best = {trial.number for trial in self._best}
        others = [trial for trial in self._finished if trial.number not in best]
        wanted = MOST_LOOKED_AT - len(best)
        return [*self._best, *(others[-1 - index * len(others) // wanted] for index in range(wanted))]


def _running(trial: FrozenTrial, number: int) -> FrozenTrial:
    running = _numbered(trial, number)
    running.state, running.values, running.intermediate_values, running.system_attrs = TrialState.RUNNING, None, {}, {}
    return running


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    numbered = copy(trial)
    numbered.number = number
    return numbered


class _Essence(FrozenTrial):
    """What samplers look at of a finished trial: of its constraints, what violates them in all.

    TPE asks each trial for its constraints at every suggestion; Optuna's looks for them among its attributes each time.
    """

    def __init__(self, trial: FrozenTrial, number: int) -> None:
        super().__init__(
            number=number,
            trial_id=number,
            state=trial.state,
            value=None,
            values=trial.values,
            params=trial.params,
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values=trial.intermediate_values,
            datetime_start=None,
            datetime_complete=None,
        )
        violation = sum(value for value in trial.constraints.values() if value > 0)
        self._violations = {"all": violation} if violation else {}

    @property
    def constraints(self) -> dict[str, float]:
        """What violates the constraints, if anything does."""
        return self._violations


def _number(trial: FrozenTrial) -> int:
    return trial.number


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    """By which TPE takes trials for good: feasible ones by score, those ended early behind them, then the others."""
    if violations := trial.constraints.values():
        return 2, *violations, trial.number
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return 0, trial.value, trial.number
    step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
    return 1, -step, math.inf if math.isnan(value) else value, trial.number


class Advisor:
    """Suggests trials from the history of a study, held in memory.

    A suggestion is a function of the study's seed, the trial's number, the settings of all trials before it and what
    came of those at least `lag` before it: never of the wall clock, so a resumed study goes on as an uninterrupted one
    would, and one whose trials train in other numbers at a time takes the same course.

    Args:
        kind: "tpe", "random" or "qmc".
        sampled: what is searched.
        seed: the study's seed.
        lag: 0 looks at whatever has ended as of `learn`.
    """

    def __init__(self, kind: str, sampled: Mapping[str, Range | Options], seed: int, *, lag: int = 0) -> None:
        self._kind = kind
        self._distributions = distributions_of(sampled)
        self._seed = seed
        self._history = _History(lag)

    def learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Take the trials of the storage, in ascending number, for the whole history; closed ones are read once."""
        self._history.learn(trials)

    def suggest(self, given: Mapping[str, float | str] | None = None) -> Suggestion:
        """The next trial's settings, or the `given` ones; until the next `learn` it counts as running."""
        number = self._history.count
        if given is None and self._kind == "qmc":
            given = self._sobol(number)
        values = self._sample(number) if given is None else given
        params = {name: _as_kind(kind, values[name]) for name, kind in self._distributions.items()}
        self._history.add(create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions))
        return Suggestion(params, self._distributions)

    def _sample(self, number: int) -> dict[str, float | str]:
        """What the sampler says for the trial of this number, as Optuna's own trials ask it."""
        sampler, trial = self._sampler(number), _numbered(create_trial(state=TrialState.RUNNING), number)
        study = optuna.create_study(storage=_Shown(self._history.looked_at()), sampler=sampler)
        values = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        for name, kind in self._distributions.items():
            # One of a joint suggestion may lie beyond its range, by rounding.
            if name not in values or _as_kind(kind, values[name]) != values[name]:
                values[name] = sampler.sample_independent(study, trial, name, kind)
        return values

    def _sampler(self, number: int) -> BaseSampler:
        seed = sampler_seed(self._seed, number)
        if self._kind == "tpe":
            return _JointTPE(self._distributions, seed)
        return RandomSampler(seed=seed)

    def _sobol(self, number: int) -> dict[str, float | str]:
        """The `number`-th point of a scrambled Sobol sequence, mapped onto the ranges."""
        from scipy.stats import qmc  # half a second, which other samplers need not wait for

        sequence = qmc.Sobol(len(self._distributions), scramble=True, rng=sampler_seed(self._seed, 0))
        if number:  # SciPy cannot skip no points
            sequence.fast_forward(number)
        point = sequence.random(1)[0]
        return {
            name: _value_at(distribution, share)
            for (name, distribution), share in zip(self._distributions.items(), point.tolist(), strict=True)
        }


def _value_at(distribution: BaseDistribution, share: float) -> float | str:
    """The value that lies at `share` of a distribution's range, on its own scale; every choice gets its share."""
    if isinstance(distribution, CategoricalDistribution):
        return str(distribution.choices[int(share * len(distribution.choices))])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    end = high + 1 if isinstance(distribution, IntDistribution) else high  # every whole number gets its share
    value = low * (end / low) ** share if distribution.log else low + share * (end - low)
    return _as_kind(distribution, value)


def _as_kind(distribution: BaseDistribution, value: float | str) -> float | str:
    """The value of a distribution that is nearest to one beyond its range; a whole number where it is of those."""
    if isinstance(value, str):
        return value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value
