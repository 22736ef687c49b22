"""The winner beside a PCA of as many components: whether that reconstructs better, and what may mend it."""

import math

import numpy as np

from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.candidates import runs_of, unexplained_on_test
from klsearch.studies.verdict.remedies import LARGE_GAP, Advice, gap_of
from klsearch.studies.verdict.words import share

_LONGER = 2
_STILL_FALLS = 0.01  # of the error, from one window of epochs to the next


def better_pca(study: StudyRecord) -> tuple[float, float] | None:
    """What the winner leaves unexplained on the test split, median over its seeds, and a PCA, if that leaves less."""
    linear = study.data.pca.get("test", math.nan) if study.data is not None else math.nan
    found = [value for value in unexplained_on_test(runs_of(study, "winner")).values() if math.isfinite(value)]
    winners = float(np.median(found)) if found else math.nan
    return (winners, linear) if winners > linear else None


def surpass_pca(study: StudyRecord) -> tuple[Advice, ...]:
    """What to change where a PCA reconstructs better: epochs while the error falls, else the size of the model."""
    found = better_pca(study)
    if found is None:
        return ()
    window, epochs = study.definition.gates.window, study.definition.training.epochs
    runs = [run for run in runs_of(study, "winner") if not run.diverged]
    worse = f"A PCA leaves {found[1]:.3g} unexplained on the test split, the winner {found[0]:.3g}"
    fall = float(np.median([_fall(run, window) for run in runs])) if runs else math.nan
    if math.isnan(fall):
        return ()
    if fall > _STILL_FALLS:
        return (
            Advice(
                action=f"Train for {_LONGER * epochs} epochs",
                reason=f"{worse}, whose error still fell by {share(fall)} over the last {window} epochs.",
                code=f"[training]\nepochs = {_LONGER * epochs}",
            ),
        )
    hidden = study.definition.model.hidden
    if not hidden or float(np.median([gap_of(run) for run in runs])) > LARGE_GAP:
        return ()
    return (
        Advice(
            action="Use a larger model",
            reason=f"{worse}, whose error fell by no more than {share(_STILL_FALLS)} over the last {window} epochs.",
            code=f"[model]\nhidden = [{', '.join(str(2 * size) for size in hidden)}]",
        ),
    )


def _fall(run: TrainingRun, window: int) -> float:
    """By which share the validation error fell from the last window but one to the last; NaN where there are no two."""
    if run.curves is None or run.curves.epochs < 2 * window:
        return math.nan
    errors = run.curves.validation_reconstruction[-2 * window :].astype(float)
    before, after = float(np.mean(errors[:window])), float(np.mean(errors[window:]))
    return 1 - after / before if before > 0 else math.nan
