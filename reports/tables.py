"""Trials and confirmation runs as pandas frames: the numbers behind everything that the report says."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from klsearch.reports.visible import as_cell, show_hidden
from klsearch.studies.files import write_atomically
from klsearch.studies.record import ConfirmationRun, StudyRecord, TrainingRun
from klsearch.vae.diagnostics.curves import CURVE_NAMES
from klsearch.vae.diagnostics.gates import GATE_NAMES
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import CHOICES, NAMES, WHOLE

TEXT_COLUMNS = ("state", "origin", "error", *CHOICES)
"""Columns of the trials frame that hold text, whatever it looks like."""

_TEST_MEASURES = ("kl", "reconstruction", "unexplained", "elbo", "active_units", "clip_share")


def trials_frame(study: StudyRecord) -> pd.DataFrame:
    """One row per trial in ascending number, at full precision; what a trial does not have is missing.

    Columns: number, state, origin, what the search judged (score, KL in nats as mean and as sum over latents, its
    relative slope per epoch, the final validation measures), one per hyperparameter (missing where a bound is
    absent; a choice that is `[training]`'s of all has no column), one boolean `gate_…` per gate, feasible, seconds,
    epochs, seed, error.
    """
    trials = study.trials
    return pd.DataFrame(
        {
            "number": _integers([trial.number for trial in trials]),
            "state": _text([trial.state for trial in trials]),
            "origin": _text([trial.origin for trial in trials]),
            **_judgements(trials),
            **_settings(trials),
            **_gates(trials),
            "feasible": np.array([trial.feasible for trial in trials], dtype=bool),
            **_cost(trials),
        }
    )


def confirmation_frame(study: StudyRecord) -> pd.DataFrame:
    """One row per confirmation run in the order of training, at full precision; what a run does not have is missing.

    Columns: name ("winner", a baseline's name, or "trial 37" for a leading trial that did not win), trial, state,
    passed, the validation measures as in `trials_frame`, the test split's as `test_…`, hyperparameters, gates,
    seconds, epochs, seed, error.
    """
    runs = study.confirmation
    return pd.DataFrame(
        {
            "name": _text([confirmed_name(study, run) for run in runs]),
            "trial": _integers([run.trial for run in runs]),
            "state": _text([run.state for run in runs]),
            "passed": np.array([run.passed for run in runs], dtype=bool),
            **_judgements(runs),
            **{f"test_{name}": _floats([measure(run.test, name) for run in runs]) for name in _TEST_MEASURES},
            **_settings(runs),
            **_gates(runs),
            **_cost(runs),
        }
    )


def curves_frame(study: StudyRecord) -> pd.DataFrame:
    """One row per epoch of every finished training, those of the trials first, at full precision.

    Columns: name ("trial 3" of the search, else as in `confirmation_frame`), part ("search", "race", "proof", or
    "closing" for the ladder at the winner's other settings), seed, epoch from 1, then what was measured in it: KL in
    nats as a mean over latents, reconstruction, KL weight and total in training; the same and `unexplained` on the
    validation split; the share of log-variances at a clip bound.
    """
    named: list[tuple[str, str, TrainingRun]] = [
        *((f"trial {trial.number}", "search", trial) for trial in study.trials),
        *((run.candidate, "race", run) for run in study.race),
        *((confirmed_name(study, run), "proof", run) for run in study.confirmation),
        *((run.candidate, "closing", run) for run in study.closing),
    ]
    frames = [
        pd.DataFrame(
            {
                "name": _text([name] * run.curves.epochs),
                "part": _text([part] * run.curves.epochs),
                "seed": _integers([run.seed] * run.curves.epochs),
                "epoch": _integers(list(range(1, run.curves.epochs + 1))),
                **{curve: _floats(getattr(run.curves, curve)) for curve in CURVE_NAMES},
            }
        )
        for name, part, run in named
        if run.curves is not None
    ]
    columns = ["name", "part", "seed", "epoch", *CURVE_NAMES]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def confirmed_name(study: StudyRecord, run: ConfirmationRun) -> str:
    """The reader's name for the candidate that a confirmation run trained."""
    return "winner" if run.trial is not None and run.trial == study.winner else run.candidate


def measure(measures: Measures | None, name: str) -> float:
    """A final measure by name; NaN where the run was never measured."""
    return math.nan if measures is None else float(getattr(measures, name))


def as_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV that reads back to the same floats; a missing value is an empty field, and no text a formula."""
    texts = {name: frame[name].map(as_cell) for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])}
    return frame.assign(**texts).to_csv(index=False, lineterminator="\n")


def write_trials_csv(study: StudyRecord, path: Path) -> None:
    """Write `trials_frame` to a file, which is either the whole new one or the old one, never half of it."""
    write_atomically(path, as_csv(trials_frame(study)))


def _judgements(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    return {
        **{name: _floats([getattr(run, name) for run in runs]) for name in ("score", "kl", "kl_sum", "kl_slope")},
        **{
            name: _floats([measure(run.measures, name) for run in runs])
            for name in ("reconstruction", "unexplained", "elbo")
        },
        "active_units": _integers([run.measures.active_units if run.measures is not None else None for run in runs]),
        "clip_share": _floats([measure(run.measures, "clip_share") for run in runs]),
    }


def _settings(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: _floats([getattr(run.hyperparameters, name) for run in runs]) for name in NAMES}
    columns |= {name: _integers([int(getattr(run.hyperparameters, name)) for run in runs]) for name in WHOLE}
    chosen = {name: [getattr(run.hyperparameters, name) or "" for run in runs] for name in CHOICES}
    return columns | {name: _text(words) for name, words in chosen.items() if any(words)}


def _gates(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    passed = [{gate.name: gate.passed for gate in run.gates} for run in runs]
    return {f"gate_{name}": pd.array([gates.get(name) for gates in passed], dtype="boolean") for name in GATE_NAMES}


def _cost(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    return {
        "seconds": _floats([run.seconds for run in runs]),
        "epochs": _integers([run.epochs for run in runs]),
        "seed": _integers([run.seed for run in runs]),
        "error": _text([run.error for run in runs]),
    }


def _floats(values: Sequence[float]) -> np.ndarray:
    """Floats in which only finite values count as present: an absent bound and a lost score are both missing."""
    floats = np.array(values, dtype=float)
    return np.where(np.isfinite(floats), floats, np.nan)


def _integers(values: Sequence[int | None]) -> Any:
    """Whole numbers of which some may be missing. pandas calls the result an ExtensionArray in some stubs only."""
    return pd.array(list(values), dtype="Int64")


def _text(values: Sequence[str]) -> np.ndarray:
    # Error texts may hold bytes that were never UTF-8; they are no reason to lose a table.
    return np.array([show_hidden(str(value)) for value in values], dtype=object)
