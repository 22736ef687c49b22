"""The response of KL and `unexplained` to each hyperparameter, measured over the trials of a study."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from klsearch.reports.readings.units import kl_factor
from klsearch.reports.tables import measure
from klsearch.reports.wording import number
from klsearch.studies.definitions.space import Options, Range
from klsearch.studies.record import StudyRecord, TrainingRun, TrialRecord
from klsearch.studies.verdict.differences import student_t95
from klsearch.vae.diagnostics.gates import MIN_FINISHED_TRIALS
from klsearch.vae.hyperparameters import RULES

# Fewer trials per coefficient leave residuals that are too small and intervals that are too narrow.
_TRIALS_PER_COEFFICIENT = 3
# With fewer, squares cost more in the width of the intervals than they save in bias.
_TRIALS_PER_COEFFICIENT_WITH_SQUARES = 5
# A column is taken for a combination of others where less than this share of it is left over.
_DEPENDENT = 1e-6
# Times the band's upper end: a KL beyond it is no matter of a few nats.
_FAR_ABOVE = 10.0
_LEAST_KL = 0.05  # below, a model has collapsed and its KL's logarithm is noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The change of a measure per step of a hyperparameter, the others held, with its 95 % interval."""

    change: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """1 where it surely rises, −1 where it surely falls, 0 where the interval holds 0."""
        return int(self.low > 0) - int(self.high < 0)

    def for_step(self, sign: int) -> "Slope":
        """The change per step up (1) or down (−1)."""
        return self if sign > 0 else Slope(change=-self.change, low=-self.high, high=-self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The effect of one more step of a hyperparameter, on average over the trials.

    Attributes:
        name: the hyperparameter.
        step: one step in words: "decade", "0.1", "10 epochs".
        kl: of the final KL in the band's unit, or of its log10; see `Responses.kl_is_log`.
        unexplained: of `unexplained`.
        gap: of validation less training reconstruction.
    """

    name: str
    step: str
    kl: Slope
    unexplained: Slope
    gap: Slope


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """The responses that could be measured.

    Attributes:
        found: by hyperparameter, in the order of the search space; empty where there are too few trials.
        trials: n, the trials that it was measured over.
        needed: the trials that it takes.
        left_out: finished trials that diverged or were stopped early.
        explained: share of the variance of KL over the trials that the fit explains (R²).
        kl_is_log: whether log10 of the KL was fitted, because some trial ended far above the band: differences of
            thousands of nats would leave nothing to be seen near it.
        clip_share: median over the trials of the share of log-variances at a clip bound.
    """

    found: Mapping[str, Response]
    trials: int
    needed: int
    left_out: int
    explained: float
    kl_is_log: bool
    clip_share: float


def responses(study: StudyRecord) -> Responses:
    """The response of KL, `unexplained` and the training gap to every searched hyperparameter.

    Each is the coefficient of an ordinary least-squares fit over all complete trials that did not diverge, on all
    searched hyperparameters at once: on log10 of those with a logarithmic range, and with their squares where there
    are trials enough, so that one hyperparameter's curved response does not pass for another's. The variables are
    centred, which makes a coefficient the mean slope over the trials. Intervals: Student's t with the covariance HC3
    of MacKinnon & White (1985), which holds where the spread is not the same everywhere.

    The search chooses where to look, so these are slopes over the trials that it ran, not of a designed experiment.
    A hyperparameter that did not vary, or only together with others, has none. Choices are held: they have no steps.
    """
    trials = [trial for trial in study.complete if _is_measured(trial)]
    searched = study.definition.space.searched()
    columns = {name: _centred_steps(name, space, trials) for name, space in searched.items()} if trials else {}
    indicators = _centred_indicators(study.definition.space.choices(), trials) if trials else []
    kept = _find_independent([*columns.values(), *indicators])
    names = [name for name, keep in zip(columns, kept[: len(columns)], strict=True) if keep]
    held = [column for column, keep in zip(indicators, kept[len(columns) :], strict=True) if keep]
    needed = max(MIN_FINISHED_TRIALS, _TRIALS_PER_COEFFICIENT * (1 + len(searched) + len(indicators)))
    clip_shares = [measure(trial.measures, "clip_share") for trial in trials]
    found: dict[str, Response] = {}
    explained = math.nan
    kl = np.array([kl_factor(study) * trial.kl for trial in trials])
    kl_is_log = bool(np.any(kl > _FAR_ABOVE * study.definition.thresholds().kl_band[1]))
    if names and len(trials) >= needed:
        design = _design([*(columns[name] for name in names), *held])
        fitted = np.log10(np.maximum(kl, _LEAST_KL)) if kl_is_log else kl
        kl_slopes, explained = _fit(design, fitted, len(names))
        unexplained, _ = _fit(design, np.array([trial.unexplained for trial in trials]), len(names))
        gap, _ = _fit(design, np.array([training_gap(trial) for trial in trials]), len(names))
        for index, name in enumerate(names):
            found[name] = Response(
                name=name,
                step=_step(name, searched[name])[1],
                kl=kl_slopes[index],
                unexplained=unexplained[index],
                gap=gap[index],
            )
    return Responses(
        found=found,
        trials=len(trials),
        needed=needed,
        left_out=len(study.finished) - len(trials),
        explained=explained,
        kl_is_log=kl_is_log,
        clip_share=float(np.median(clip_shares)) if clip_shares else math.nan,
    )


def training_gap(run: TrainingRun) -> float:
    """Validation less training reconstruction in the last epoch; training is measured with dropout on."""
    if run.curves is None or not run.curves.epochs:
        return math.nan
    return float(run.curves.validation_reconstruction[-1]) - float(run.curves.reconstruction[-1])


def _is_measured(trial: TrialRecord) -> bool:
    return not trial.diverged and all(map(math.isfinite, (trial.kl, trial.unexplained, training_gap(trial))))


def _scale(space: Range, value: float) -> float:
    return math.log10(value) if space.log else float(value)


def _step(name: str, space: Range) -> tuple[float, str]:
    """One step on the range's own scale, and in words."""
    if space.log:
        return 1.0, "decade"
    if (step := RULES[name].step) is not None:
        return step, f"{number(step)}{' epochs' if space.integer else ''}"
    return space.high - space.low, number(space.high - space.low)


def _centred_steps(name: str, space: Range, trials: list[TrialRecord]) -> np.ndarray:
    """A hyperparameter of each trial, in steps from their mean, shape [n]."""
    values = np.array([_scale(space, getattr(trial.hyperparameters, name)) for trial in trials])
    steps: np.ndarray = (values - np.mean(values)) / _step(name, space)[0]
    return steps


def _centred_indicators(choices: Mapping[str, Options], trials: list[TrialRecord]) -> list[np.ndarray]:
    """Of each name of a choice but its first, whether a trial has it, from their mean: each [n]."""
    found = []
    for name, options in choices.items():
        for option in options[1:]:
            has = np.array([getattr(trial.hyperparameters, name) == option for trial in trials], dtype=float)
            found.append(has - np.mean(has))
    return found


def _find_independent(columns: Sequence[np.ndarray]) -> list[bool]:
    """Tell of each column whether it is neither constant nor a combination of those before it."""
    kept: list[np.ndarray] = []  # orthonormal
    verdicts = []
    for column in columns:
        rest = column - np.mean(column)
        for _ in range(2):  # once more, against the rounding of the first time
            for basis in kept:
                rest = rest - (basis @ rest) * basis
        norm = float(np.linalg.norm(rest))
        verdicts.append(norm > _DEPENDENT * max(float(np.linalg.norm(column)), 1e-12))
        if verdicts[-1]:
            kept.append(rest / norm)
    return verdicts


def _design(columns: list[np.ndarray]) -> np.ndarray:
    """One, the columns, then their squares where trials are enough for them, shape [n, coefficients]."""
    squares = [column**2 for column in columns]
    kept = _find_independent([*columns, *squares])[len(columns) :]
    added = [square for square, keep in zip(squares, kept, strict=True) if keep]
    trials = len(columns[0])
    if trials < _TRIALS_PER_COEFFICIENT_WITH_SQUARES * (1 + len(columns) + len(added)):
        added = []
    return np.stack([np.ones(trials), *columns, *added], axis=1)


def _fit(design: np.ndarray, y: np.ndarray, slopes: int) -> tuple[list[Slope], float]:
    """The first `slopes` coefficients after the intercept with their intervals, and R².

    With X = QR, leverages h are the row norms of Q squared, and HC3 is (XᵀX)⁻¹Xᵀ diag(r²/(1−h)²) X(XᵀX)⁻¹.
    """
    q, r = np.linalg.qr(design)
    solver = np.linalg.solve(r, q.T)  # [coefficients, n]
    coefficients = solver @ y
    residuals = y - design @ coefficients
    # A trial that alone decides a coefficient has leverage 1 and no residual; it says nothing of the spread.
    slack = np.maximum(1 - np.sum(q**2, axis=1), 1e-6)
    errors = np.sqrt(np.sum((solver * (residuals / slack)) ** 2, axis=1))
    half = student_t95(len(y) - design.shape[1]) * errors
    total = float(np.var(y))
    explained = 1 - float(np.var(residuals)) / total if total > 0 else math.nan
    found = [
        Slope(change=float(at), low=float(at - width), high=float(at + width))
        for at, width in zip(coefficients[1 : slopes + 1], half[1 : slopes + 1], strict=True)
    ]
    return found, explained
