"""The verdict on histories whose truth is known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.diagnostics.diagnosis import VERDICTS, Diagnosis, diagnose
from klsearch.vae.diagnostics.histories import read_history
from tests.vae.diagnostics.known_histories import Known, first_family, held_out_family, recorded

ALARMS = {"runaway", "collapsed", "diverged"}


def judge(known: Known, folder: Path) -> Diagnosis:
    path = folder / "history.csv"
    known.frame.to_csv(path, index=False, na_rep="nan")
    return diagnose(read_history(path), latent_dim=known.latent_dim)


def written(folder: Path, **columns: object) -> Diagnosis:
    pd.DataFrame(columns).to_csv(folder / "history.csv")
    return diagnose(read_history(folder / "history.csv"))


@pytest.mark.parametrize(("family", "least"), [(first_family, 0.95), (held_out_family, 0.95), (recorded, 1.0)])
def test_known_histories_are_told_apart_without_a_false_alarm(
    family: Callable[[], Iterator[Known]], least: float, tmp_path: Path
) -> None:
    pairs = [(known, judge(known, tmp_path)) for known in family()]
    told = pd.Series([found.verdict for _, found in pairs], name="told")
    truth = pd.Series([known.truth for known, _ in pairs], name="truth")
    print(f"\n{pd.crosstab(truth, told)}")  # the confusion table: pytest -s
    wrong = [
        f"{known.name}: {found.verdict}, {found.reasons[0]}" for known, found in pairs if found.verdict != known.truth
    ]
    print("\n".join(wrong))
    assert set(told[truth == "healthy"]) & ALARMS == set()
    assert (told == truth).mean() >= least, wrong
    assert all(found.next and found.verdict in VERDICTS for _, found in pairs)


def test_the_three_families_hold_more_than_a_hundred_histories() -> None:
    assert sum(1 for family in (first_family, held_out_family, recorded) for _ in family()) > 100


def test_a_level_above_the_band_is_a_runaway_for_a_mean_and_fine_for_a_sum(tmp_path: Path) -> None:
    pd.DataFrame({"epoch": range(60), "kl": 19.4}).to_csv(tmp_path / "h.csv", index=False)
    history = read_history(tmp_path / "h.csv")
    assert diagnose(history).verdict == "unknown"
    assert "--latent-dim" in diagnose(history).next
    assert diagnose(history, kl_reduction="mean").verdict == "runaway"
    assert diagnose(history, latent_dim=8).verdict == "healthy"
    assert diagnose(history, latent_dim=8).numbers["kl_per_latent"] == pytest.approx(2.425)
    assert diagnose(history, latent_dim=8, kl_reduction="mean").verdict == "runaway"


def test_a_rise_while_the_weight_rises_is_annealing_until_it_has_been_full_for_the_window(tmp_path: Path) -> None:
    ramp = np.minimum(1, np.arange(30) / 26)
    assert written(tmp_path, kl=1 + ramp, beta=ramp).verdict == "annealing"
    longer = np.minimum(1, np.arange(40) / 26)
    assert written(tmp_path, kl=1 + longer, beta=longer).verdict == "healthy"


def test_annealing_is_seen_from_the_loss_where_the_weight_was_not_written(tmp_path: Path) -> None:
    kl, recon, weight = np.linspace(1, 3, 30), np.linspace(9, 5, 30), np.linspace(0.1, 0.9, 30)
    found = written(tmp_path, loss=recon + weight * kl, recon_loss=recon, kl_loss=kl)
    assert found.verdict == "annealing"
    assert found.numbers["kl_weight"] == pytest.approx(0.9)


def test_cyclical_annealing_in_its_ramp_says_that_it_is_cyclical(tmp_path: Path) -> None:
    cycle = (np.arange(48) % 20) / 20
    found = written(tmp_path, kl=3 - cycle, kl_weight=cycle)
    assert found.verdict == "annealing"
    assert "cyclical" in found.reasons[0]


def test_what_a_history_cannot_tell_is_said(tmp_path: Path) -> None:
    said = " ".join(written(tmp_path, kl=np.full(20, 2.0)).unknowns)
    assert all(words in said for words in ("sum or a mean", "active", "KL weight", "reconstruction"))


SETTLING = 2.2 * (1 - np.exp(-np.arange(1, 61) / 5))


@pytest.mark.parametrize("kl", [np.log(SETTLING), -SETTLING], ids=["logarithm", "other sign"])
def test_a_kl_below_zero_is_no_kl(kl: np.ndarray, tmp_path: Path) -> None:
    found = written(tmp_path, kl=kl)
    assert found.verdict == "unknown"
    assert found.reasons[0].startswith(f"The KL is below zero, down to {kl.min():.3g}, which no KL is")


def test_an_estimate_from_samples_may_scatter_below_zero(tmp_path: Path) -> None:
    scatter = np.random.default_rng(0).normal(scale=0.01, size=60)
    assert written(tmp_path, kl=scatter).verdict == "collapsed"


def test_one_epoch_that_jumps_and_comes_back_is_no_runaway(tmp_path: Path) -> None:
    kl = SETTLING.copy()
    kl[57] = 60
    found = written(tmp_path, kl_mean=kl)
    assert found.verdict == "unknown"
    assert found.reasons[0].startswith("KL jumped to 60 among the last 5 epochs, and came back")
    kl[55:] = 60
    assert written(tmp_path, kl_mean=kl).verdict == "runaway"
    kl[55:] = [2.2, 2.2, 2.2, 2.2, 18]
    assert "came back" not in written(tmp_path, kl_mean=kl).reasons[0], "it is there still"


def test_a_first_epoch_far_above_all_others_says_nothing_of_the_scatter(tmp_path: Path) -> None:
    kl = np.r_[4e5, SETTLING[:24]]
    error = written(tmp_path, kl_mean=kl).numbers["kl_slope_error"]
    assert error is not None and error < 0.02


def test_a_training_that_ends_in_nan_tells_where_kl_was_last_a_number(tmp_path: Path) -> None:
    frame = pd.DataFrame({"epoch": range(60), "kl": np.where(np.arange(60) < 50, SETTLING, np.nan)})
    frame.to_csv(tmp_path / "h.csv", index=False, na_rep="nan")
    found = diagnose(read_history(tmp_path / "h.csv"))
    assert found.verdict == "diverged"
    assert found.reasons[:2] == (
        "10 epochs hold values that are not finite.",
        "KL was last finite in row 50 of 60, at 2.2.",
    )
