"""How reconstruction and KL answer the searched hyperparameters: a model of the trials, by which a search decides.

One training's score is its setting's worth plus chance. A Gaussian process through all of them takes what neighbours
say into account: on digits it ranked 60 settings at a Spearman correlation of 0.90 with their means over eight seeds,
where their own scores reached 0.55 on seeds of their own and 0.71 on a shared one.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.space import Options, Range
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS

# A fit takes time with the cube of their number; beyond, half of them lie around the best, where it must be judged.
_MOST_FITTED = 300
# A gain below it is not worth more trials, however smooth the model of few trials on one seed: from seed to seed one
# setting's value changes by more (on digits by 2.3 to 2.7 %).
_LEAST_TOLERANCE = 0.01
_LEAST_KL_NOISE = 0.02
# How sure a leading setting must be of the band on another seed, and how sure the end of a search is of it.
_IN_BAND = 0.9
# What may be lost if the leader fails on the seeds of its race, of which its one training says little. It is two
# standard deviations of what seeds change on digits; less would not show. There the setting that comes next was
# expected 10 % above the leader after 20 trials, 1.6 % after 40 (medians of ten searches).
_DEEPEST_FALL = 0.05
# Settings to look for a better one among, beside those that were tried.
_PROBES = 2048
# Places at which a range is looked at, and how far inside a setting on its edge is compared with: a fifth of the range.
_STEPS, _INWARDS = 33, 0.2
_NORMAL_95 = 1.96


class Tried(NamedTuple):
    """A trial that was trained to its end.

    Attributes:
        number: of the trial.
        values: of the searched hyperparameters.
        unexplained: on validation; NaN if it diverged.
        kl: final KL in the band's unit; NaN if it diverged.
        feasible: whether it meets every constraint.
    """

    number: int
    values: Mapping[str, Any]
    unexplained: float
    kl: float
    feasible: bool


class Decision(NamedTuple):
    """What is known of the best setting.

    Attributes:
        leader: number of the trial whose setting is expected to reconstruct best inside the band.
        unexplained: what is expected of it.
        gain: by how much another setting is expected to lower that at most, as a share of it.
        tolerance: the largest such share that is within the noise of training: the trials' scatter about the model, a
            standard deviation, and at least 1 %.
        in_band: the probability that its KL lies inside the band on another seed.
        fall: by how much the setting that comes next is expected to be above it, as a share of it: what is lost if the
            leader fails on other seeds. Infinite where none comes next.
        trials: how many trials say so.
    """

    leader: int
    unexplained: float
    gain: float
    tolerance: float
    in_band: float
    fall: float
    trials: int

    @property
    def reached(self) -> bool:
        """True if more search no longer pays, even if the leader does not survive its race."""
        return self.gain < self.tolerance and self.in_band >= _IN_BAND and self.fall <= _DEEPEST_FALL


class Change(NamedTuple):
    """By how much a measure is expected to differ between two settings, as a share of the second.

    Attributes:
        share: of the expected values.
        low: lower end of its 95 % interval, given the lengths over which the model sees measures change.
        high: upper end.
    """

    share: float
    low: float
    high: float

    @property
    def is_seen(self) -> bool:
        """True if the first is surely the higher one."""
        return self.low > 0


class Surface(NamedTuple):
    """What is expected over the ranges of two hyperparameters while the others stay as a setting has them.

    Attributes:
        names: of the two, the one that matters more first.
        across: values of the first, evenly spread on its own scale, shape [n].
        up: values of the second, shape [n].
        unexplained: expected, shape [n of the second, n of the first].
        kl: expected final KL in the band's unit, of the same shape.
    """

    names: tuple[str, str]
    across: np.ndarray
    up: np.ndarray
    unexplained: np.ndarray
    kl: np.ndarray


class Effect(NamedTuple):
    """What one hyperparameter does over its range while the others stay as the leader has them.

    Attributes:
        name: of the hyperparameter.
        unexplained: by how much the largest expected `unexplained` exceeds the least.
        kl: the same of the final KL.
    """

    name: str
    unexplained: Change
    kl: Change


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """Two Gaussian processes over the searched space: of ln `unexplained` and of ln KL.

    Each has a Matérn-5/2 kernel with a length scale for every hyperparameter, on the range's own scale, and white noise
    (scikit-learn's; Rasmussen and Williams 2006). A choice has a length scale for each of its names: settings that
    differ in it alone are one apart along two of them, whichever names they have.
    """

    ranges: Mapping[str, Range | Options]
    band: tuple[float, float]
    trials: tuple[Tried, ...]
    _unexplained: "_Process"
    _kl: "_Process"

    @classmethod
    def of(cls, definition: StudyDefinition, trials: Iterable[TrialRecord]) -> Self | None:
        """The model of a study's trials; see `fit`.

        Args:
            definition: of the study, settled.
            trials: in ascending number; those that were not trained to their end count for nothing.
        """
        ranges, thresholds = definition.space.sampled(), definition.thresholds()
        tried = [
            Tried(
                trial.number,
                {name: getattr(trial.hyperparameters, name) for name in ranges},
                trial.unexplained,
                thresholds.banded_kl(trial.kl, definition.model.latent_dim),
                trial.feasible,
            )
            for trial in trials
            if trial.state is RunState.COMPLETE
        ]
        return cls.fit(ranges, tried, thresholds.kl_band)

    @classmethod
    def fit(
        cls, ranges: Mapping[str, Range | Options], trials: Sequence[Tried], band: tuple[float, float]
    ) -> Self | None:
        """The model of these trials; None where fewer of them have numbers than a verdict asks for.

        Args:
            ranges: what is searched.
            trials: in ascending number.
            band: lowest and highest acceptable KL.
        """
        known = [t for t in trials if _is_positive(t.unexplained) and _is_positive(t.kl)]
        if len(known) < MIN_FINISHED_TRIALS:
            return None
        fitted = _choose_fitted(ranges, known)
        points = _places(ranges, [trial.values for trial in fitted])
        return cls(
            ranges,
            band,
            tuple(known),
            _fit(points, np.log([trial.unexplained for trial in fitted])),
            _fit(points, np.log([trial.kl for trial in fitted])),
        )

    def leaders(self) -> list[Tried]:
        """The feasible trials that are sure of the band, by the `unexplained` that is expected of their settings.

        Where none is, all feasible ones, the surest of the band first.
        """
        feasible = [trial for trial in self.trials if trial.feasible]
        if not feasible:
            return []
        points = _places(self.ranges, [trial.values for trial in feasible])
        expected, sure = self._unexplained.mean(points), self._in_band(points)
        order = np.lexsort((expected, -np.minimum(sure, _IN_BAND)))
        return [feasible[index] for index in order]

    def decide(self) -> Decision | None:
        """What is known of the best setting; None without a feasible trial."""
        leaders = self.leaders()
        if not leaders:
            return None
        places = _places(self.ranges, [trial.values for trial in leaders[:2]])
        best, *following = self._unexplained.mean(places).tolist()
        return Decision(
            leader=leaders[0].number,
            unexplained=math.exp(best),
            gain=self._gain(best),
            tolerance=max(_LEAST_TOLERANCE, self._unexplained.noise),
            in_band=float(self._in_band(places)[0]),
            fall=math.expm1(following[0] - best) if following else math.inf,
            trials=len(self.trials),
        )

    def effects(self, values: Mapping[str, float | str]) -> list[Effect]:
        """What each hyperparameter does around a setting, the one that matters most to `unexplained` first.

        Args:
            values: of the searched hyperparameters, usually the leader's or the winner's.
        """
        place, columns = _places(self.ranges, [values]), _columns(self.ranges)
        found = []
        for name, space in self.ranges.items():
            steps = np.eye(len(space)) if isinstance(space, tuple) else np.linspace(0, 1, _STEPS)[:, np.newaxis]
            line = np.repeat(place, len(steps), axis=0)
            line[:, columns[name]] = steps
            found.append(Effect(name, self._unexplained.span(line), self._kl.span(line)))
        return sorted(found, key=lambda effect: -effect.unexplained.share)

    def surface(self, values: Mapping[str, float | str]) -> Surface | None:
        """What is expected over the two ranges that matter most; None where fewer than two are searched.

        Args:
            values: of the searched hyperparameters, usually the winner's.
        """
        ranges = {name: space for name, space in self.ranges.items() if isinstance(space, Range)}
        if len(ranges) < 2:
            return None
        first, second = [effect.name for effect in self.effects(values) if effect.name in ranges][:2]
        steps, columns = np.linspace(0, 1, _STEPS), _columns(self.ranges)
        points = np.repeat(_places(self.ranges, [values]), _STEPS**2, axis=0)
        points[:, columns[first]] = np.tile(steps, _STEPS)[:, np.newaxis]
        points[:, columns[second]] = np.repeat(steps, _STEPS)[:, np.newaxis]
        unexplained, kl = (
            np.exp(process.mean(points)).reshape(_STEPS, _STEPS) for process in (self._unexplained, self._kl)
        )
        across, up = (np.array([_value(ranges[name], step) for step in steps]) for name in (first, second))
        return Surface((first, second), across, up, unexplained, kl)

    def presses(self, values: Mapping[str, float | str], name: str, side: str) -> bool:
        """Whether a setting on the edge of a range wants to leave it, as far as can be seen from inside.

        That is so if the edge is surely better than a place a fifth of the range inside, all else equal: `unexplained`
        is lower by 1 % at least, and the 95 % interval of the difference does not hold 0. It is so too if the KL surely
        changes between the two, and as large a change again would carry it out of the band. Where no trial lies so far
        inside, nothing speaks against it.
        """
        edge, index = _places(self.ranges, [values]), _columns(self.ranges)[name].start
        inside = edge.copy()
        inside[0, index] += _INWARDS if side == "low" else -_INWARDS
        tried = _places(self.ranges, [trial.values for trial in self.trials])[:, index]
        if not np.any(tried >= inside[0, index] if side == "low" else tried <= inside[0, index]):
            return True
        better = self._unexplained.compare(inside, edge)
        if better.is_seen and better.share >= _LEAST_TOLERANCE:
            return True
        if not (self._kl.compare(inside, edge).is_seen or self._kl.compare(edge, inside).is_seen):
            return False
        kl, before = math.exp(self._kl.mean(edge)[0]), math.exp(self._kl.mean(inside)[0])
        return not all(self.band[0] <= value <= self.band[1] for value in (kl * kl / before, kl * before / kl))

    def _gain(self, best: float) -> float:
        """The largest expected improvement on `best` (ln `unexplained`) by a setting inside the band.

        Expected improvement (Jones et al. 1998) of the noiseless value, times the probability of the band.
        """
        from scipy.stats import norm, qmc

        probes = _spread(self.ranges, qmc.Sobol(len(self.ranges), scramble=True, rng=0).random(_PROBES))
        points = np.vstack([probes, _places(self.ranges, [trial.values for trial in self.trials])])
        mean, deviation = self._unexplained.predict(points)
        deviation = np.sqrt(np.maximum(np.square(deviation) - self._unexplained.noise**2, 1e-12))
        z = (best - mean) / deviation
        improvement = deviation * (z * norm.cdf(z) + norm.pdf(z))
        return float(np.max(improvement * self._in_band(points)))

    def _in_band(self, points: np.ndarray) -> np.ndarray:
        """The probability that a training there ends inside the band, [n]."""
        from scipy.stats import norm

        mean, deviation = self._kl.predict(points)
        deviation = np.hypot(deviation, _LEAST_KL_NOISE)
        low, high = (math.log(edge) if edge > 0 else -math.inf for edge in self.band)
        return np.asarray(norm.cdf((high - mean) / deviation) - norm.cdf((low - mean) / deviation))


@lru_cache(maxsize=1)
def response_of(study: StudyRecord) -> Response | None:
    """The model of a study's trials, fitted once for a record; None where there are too few."""
    return Response.of(study.definition, study.trials)


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _choose_fitted(ranges: Mapping[str, Range | Options], trials: Sequence[Tried]) -> list[Tried]:
    """The trials to fit: all, or half of the most those nearest the best feasible one's setting, half all over."""
    if len(trials) <= _MOST_FITTED:
        return list(trials)
    best = min(trials, key=lambda trial: (not trial.feasible, trial.unexplained))
    points = _places(ranges, [trial.values for trial in trials])
    distance = np.sum(np.square(points - _places(ranges, [best.values])), axis=1)
    nearest, others = np.split(np.argsort(distance, kind="stable"), [_MOST_FITTED // 2])
    spread = np.sort(others)[np.linspace(0, len(others) - 1, _MOST_FITTED - len(nearest), dtype=int)]
    return [trials[index] for index in sorted([*nearest, *spread])]


def _places(ranges: Mapping[str, Range | Options], settings: Sequence[Mapping[str, float | str]]) -> np.ndarray:
    """Where settings lie in their ranges, each on its own scale, 0 at the lower end and 1 at the upper: [n, d].

    A choice has a column for each of its names, 1 for the one that is chosen.
    """
    return np.array(
        [[place for name, range_ in ranges.items() for place in _place(range_, values[name])] for values in settings]
    )


def _place(range_: Range | Options, value: Any) -> list[float]:
    if isinstance(range_, tuple):
        return [float(value == name) for name in range_]
    if range_.log:
        return [math.log(value / range_.low) / math.log(range_.high / range_.low)]
    return [(value - range_.low) / (range_.high - range_.low)]


def _columns(ranges: Mapping[str, Range | Options]) -> dict[str, slice]:
    """The columns of `_places` that each hyperparameter has."""
    found, start = {}, 0
    for name, range_ in ranges.items():
        found[name] = slice(start, start + (len(range_) if isinstance(range_, tuple) else 1))
        start = found[name].stop
    return found


def _spread(ranges: Mapping[str, Range | Options], shares: np.ndarray) -> np.ndarray:
    """The places at shares [n, hyperparameters] of their ranges, [n, d]: each name of a choice has an equal part."""
    parts = []
    for range_, share in zip(ranges.values(), shares.T, strict=True):
        if isinstance(range_, tuple):
            parts.append(np.eye(len(range_))[(share * len(range_)).astype(int)])
        else:
            parts.append(share[:, np.newaxis])
    return np.hstack(parts)


def _value(range_: Range, place: float) -> float:
    """The value at a place; what `_place` makes of it is the place again."""
    if range_.log:
        return float(range_.low * (range_.high / range_.low) ** place)
    return float(range_.low + place * (range_.high - range_.low))


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    """A fitted Gaussian process of standardised values, with what they were standardised by.

    Attributes:
        noise: standard deviation of the white noise, in the unit of the values.
    """

    fitted: Any
    centre: float
    scale: float
    noise: float

    def mean(self, points: np.ndarray) -> np.ndarray:
        """What is expected at points [n, d]: [n]."""
        return np.asarray(self.centre + self.scale * self._ask(points))

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean, and the standard deviation of one training's value, both [n]."""
        mean, deviation = self._ask(points, return_std=True)
        return self.centre + self.scale * mean, self.scale * deviation

    def span(self, line: np.ndarray) -> Change:
        """How far apart the largest and the least expected values on a line of points [n, d] are."""
        expected = self.mean(line)
        most, least = int(np.argmax(expected)), int(np.argmin(expected))
        return self.compare(line[most : most + 1], line[least : least + 1])

    def compare(self, first: np.ndarray, second: np.ndarray) -> Change:
        """The difference of the noiseless values, which are logarithms, at two points [1, d]: from their joint law."""
        both = np.vstack([first, second])
        mean, covariance = self._ask(both, return_cov=True)
        noise = (self.noise / self.scale) ** 2  # which the kernel adds to each, and the difference of means has none of
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1] - 2 * noise
        difference = self.scale * float(mean[0] - mean[1])
        half = _NORMAL_95 * self.scale * math.sqrt(max(float(variance), 0.0))
        return Change(*(math.expm1(value) for value in (difference, difference - half, difference + half)))

    def _ask(self, points: np.ndarray, **asked: bool) -> Any:
        """What the process says of points, in standardised values."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return self.fitted.predict(points, **asked)


def _fit(points: np.ndarray, values: np.ndarray) -> _Process:
    """A Gaussian process through values [n] at points [n, d]: the same for the same trials."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from threadpoolctl import threadpool_limits

    lengths = np.ones(points.shape[1])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(lengths, (0.05, 50.0), nu=2.5) + WhiteKernel(0.05, (1e-5, 1.0))
    process = GaussianProcessRegressor(kernel, random_state=0)
    centre, scale = float(np.mean(values)), float(np.std(values)) or 1.0
    # One thread: the others train, and sums of other numbers of threads differ in their last bits.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is what no effect looks like
        process.fit(points, (values - centre) / scale)
    return _Process(process, centre, scale, noise=scale * math.sqrt(process.kernel_.k2.noise_level))
