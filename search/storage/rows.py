"""A training's settings, its result, and the row of the storage that holds both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from klsearch.search.storage.encoding import encode_curves, encode_measures
from klsearch.search.storage.process import Owner
from klsearch.studies.definitions.sections import Method
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.hyperparameters import Hyperparameters

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_TRIAL = "trial "


def trial_label(number: int) -> str:
    """The label of a trial where others stand beside it.

    >>> trial_label(37), trial_number(trial_label(37)), trial_number("before")
    ('trial 37', 37, None)
    """
    return f"{_TRIAL}{number}"


def trial_number(label: str) -> int | None:
    """The number of the trial that a label names; None for a baseline."""
    return int(label.removeprefix(_TRIAL)) if label.startswith(_TRIAL) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training to be done, as it is written when its row is created.

    Attributes:
        hyperparameters: the settings.
        seed: from which everything random of this training is drawn.
        label: where it comes from: "search", a baseline's name, or "trial 37" in a confirmation.
        method: by which a baseline weighs the KL; None where its settings do.
    """

    hyperparameters: Hyperparameters
    seed: int
    label: str
    method: Method | None = None

    def as_json(self) -> dict[str, Any]:
        """The run as JSON values."""
        run = {"hyperparameters": self.hyperparameters.as_json(), "seed": self.seed, "label": self.label}
        return run if self.method is None else {**run, "method": self.method}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The run that `as_json` wrote."""
        return cls(
            hyperparameters=Hyperparameters.from_json(values["hyperparameters"]),
            seed=int(values["seed"]),
            label=str(values["label"]),
            method=values.get("method"),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewRow:
    """A row to be made.

    Attributes:
        run: what is to be trained.
        params: values of what is searched.
        distributions: the ranges that they were drawn from.
    """

    run: Run
    params: Mapping[str, float | str]
    distributions: Mapping[str, BaseDistribution]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The result of a training.

    Attributes:
        curves: per-epoch measures.
        measures: final measures by split; empty where it diverged.
        seconds: its share of the population's wall time.
    """

    curves: TrainingCurves
    measures: Mapping[str, Measures]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        measures = {split: encode_measures(measured) for split, measured in self.measures.items()}
        return {"curves": encode_curves(self.curves), "measures": measures, "seconds": round(self.seconds, 6)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One training as the storage holds it.

    Attributes:
        number: its place in the study, from 0.
        state: Optuna's state of the row.
        run: what is or was trained.
        owner: the process that trains it.
        course: the worker's course that it belongs to, which goes on in another process if this one is killed.
        result: what it left; None until it has ended, and where it was not asked for.
        score: Optuna's value; NaN where there is none.
        error: why it failed; empty otherwise.
        progress: a running training's latest epoch by curve name; empty otherwise.
        started: UTC.
        ended: UTC; None while running.
        probe: what a linear model reads off its latents; None where nobody looked.
        warm_start: whether it was trained in an earlier study, and does not count to this one's budget.
        is_void: whether klsearch itself closed it before anything was trained; its error says why.
    """

    number: int
    state: TrialState
    run: Run
    owner: Owner
    course: str
    result: Result | None
    score: float
    error: str
    progress: Mapping[str, float]
    started: datetime
    ended: datetime | None
    probe: Probe | None = None
    warm_start: bool = False
    is_void: bool = False


def one_of_each(rows: Iterable[Row]) -> list[Row]:
    """One row of each run, in ascending number: a finished one if there is one, else one that did not fail.

    A process that was silent in its turn until another took it for dead may make a row that the other made too.
    """
    best_first = sorted(rows, key=lambda row: (row.result is None, row.state is TrialState.FAIL, row.number))
    chosen: dict[Run, Row] = {}
    for row in best_first:
        chosen.setdefault(row.run, row)
    return sorted(chosen.values(), key=lambda row: row.number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EarlierTrial:
    """A finished trial of an earlier study, as a new study takes it over.

    Attributes:
        row: in the earlier study.
        origin: what names it in the new one.
        params: values of what the new study searches.
        distributions: the new study's ranges.
        score: under the new definition.
        constraints: violations under the new definition.
    """

    row: Row
    origin: str
    params: Mapping[str, float | str]
    distributions: Mapping[str, BaseDistribution]
    score: float
    constraints: Mapping[str, float]
