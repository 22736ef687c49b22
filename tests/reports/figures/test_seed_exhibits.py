"""Figures of every fresh seed: what they say of seeds made by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from klsearch.reports.figures.seed_exhibits import paint_seed_plot, seed_exhibits, seed_plots
from klsearch.studies.record import ConfirmationRun, StudyRecord

Make = Callable[..., StudyRecord]


@pytest.fixture
def three_seeds(make: Make) -> StudyRecord:
    """A study whose winner ended at a KL of 1, 2 and 4 on three seeds, and passes on the first two."""
    study = make(30, seeds=3, baselines={})
    kl = dict(zip(range(9000, 9003), (1.0, 2.0, 4.0), strict=True))

    def ended(run: ConfirmationRun) -> ConfirmationRun:
        gates = tuple(replace(gate, passed=run.seed < 9002) for gate in run.gates)
        return replace(run, kl=kl[run.seed], gates=gates)

    runs = tuple(ended(run) for run in study.confirmation if run.trial == study.winner)
    return replace(study, confirmation=runs)


def test_each_measure_is_told_by_candidate_with_median_and_range(three_seeds: StudyRecord) -> None:
    kl, unexplained = seed_exhibits(three_seeds)
    assert kl.title == "Final KL, nats per latent: every seed"
    assert kl.caption == "One marker per seed, on the validation split, the band shaded."
    assert unexplained.caption == "One marker per seed, on the validation split."
    label = f"winner (trial {three_seeds.winner})"
    assert kl.data.rows == ((label, "3", "2", "1", "4", "2 of 3"),)
    assert kl.alternative.endswith(f"{label} 2 (1 to 4), 2 of 3 pass.")


def test_the_band_is_behind_the_kl_alone(three_seeds: StudyRecord) -> None:
    shaded = []
    for plot in seed_plots(three_seeds):
        axes = Figure().add_subplot()
        paint_seed_plot(axes, plot)
        shaded.append(len(axes.patches))
        drawn = sorted(float(x) for one in axes.collections for x in np.asarray(one.get_offsets())[:, 0])
        assert drawn == pytest.approx(sorted(plot.values[0]))
    assert shaded == [1, 0]


def test_before_anything_is_confirmed_there_is_no_figure(unconfirmed: StudyRecord) -> None:
    assert seed_plots(unconfirmed) == ()
    assert seed_exhibits(unconfirmed) == ()
