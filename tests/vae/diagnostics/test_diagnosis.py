"""The verdict on histories whose truth is known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from klsearch.vae.diagnostics.diagnosis import VERDICTS, Diagnosis, diagnose
from klsearch.vae.diagnostics.histories import read_history
from tests.vae.diagnostics.histories.known_histories import Known, first_family, held_out_family, recorded

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


@pytest.mark.parametrize(
    ("weight", "written_as", "columns", "is_doubtful"),
    [
        (0.01, 0.01, {}, True),
        (1.0, 1.0, {}, True),
        (0.01, 1.0, {}, False),
        (0.01, 1.0, {"beta": 0.01}, False),
        (0.01, 0.01, {"beta": 0.01}, False),
        (1.0, 1.0, {"beta": 1.0}, False),
    ],
)
def test_a_kl_that_may_have_been_written_with_its_weight_is_said_to_be_so(
    weight: float, written_as: float, columns: dict[str, float], is_doubtful: bool, tmp_path: Path
) -> None:
    kl, recon = np.linspace(19, 20, 30), np.linspace(9, 5, 30)
    found = written(tmp_path, loss=recon + weight * kl, recon_loss=recon, kl_loss=written_as * kl, **columns)
    said = "Whether kl_loss is the KL or the KL times its weight cannot be seen"
    assert any(said in sentence for sentence in found.unknowns) == is_doubtful
    assert any(said in sentence for sentence in written(tmp_path, kl_loss=kl).unknowns)
    assert not any("its weight" in sentence for sentence in written(tmp_path, val_kl_per_latent=kl).unknowns)


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


EPOCHS = np.arange(100)
GROWING = 10 * 1.004**EPOCHS  # sums over 8
ANNEALED = np.minimum(1, EPOCHS / 50)
RARELY = np.where(EPOCHS % 5 == 4, GROWING, np.nan)


def rarely(folder: Path, **columns: np.ndarray) -> Diagnosis:
    """Of a training of which some epochs have no KL."""
    pd.DataFrame({"loss": 90 - GROWING, **columns}).to_csv(folder / "history.csv", index_label="epoch")
    return diagnose(read_history(folder / "history.csv"), latent_dim=8)


def test_a_kl_of_some_epochs_is_judged_by_epochs_as_one_of_each_is(tmp_path: Path) -> None:
    each, some = rarely(tmp_path, val_kl_loss=GROWING), rarely(tmp_path, val_kl_loss=RARELY)
    assert each.verdict == some.verdict == "healthy"
    for number, tolerance in {"epochs": 0, "kl": 0.02, "kl_slope": 0.02, "kl_slope_over_window": 0.02}.items():
        assert some.numbers[number] == pytest.approx(each.numbers[number], rel=tolerance)
    assert "+0.40% per epoch over the last 21 epochs" in some.reasons[0]
    assert "mean of the last 3 values, over 11 epochs" in some.reasons[1]


@pytest.mark.parametrize("begin", [0, 10])
def test_rows_of_every_tenth_epoch_are_told_from_rows_of_each(begin: int, tmp_path: Path) -> None:
    at = EPOCHS[::10] + begin
    pd.DataFrame({"epoch": at, "kl": GROWING[::10], "beta": np.minimum(1, at / 50)}).to_csv(tmp_path / "h.csv")
    numbers = diagnose(read_history(tmp_path / "h.csv"), latent_dim=8).numbers
    assert numbers["kl_slope"] == pytest.approx(0.004, rel=0.02)
    assert (numbers["epochs"], numbers["epochs_at_this_weight"]) == (at[-1] + (begin == 0), at[-1] - 49)
    assert numbers["annealing_epochs"] == 50 - (begin > 0), "counted from 1, the 50th was the first at full weight"


def test_the_epochs_of_annealing_are_those_of_the_weight_and_not_of_the_kl(tmp_path: Path) -> None:
    numbers = rarely(tmp_path, val_kl_loss=RARELY, kl_weight=ANNEALED).numbers
    assert (numbers["annealing_epochs"], numbers["epochs_at_this_weight"], numbers["epochs"]) == (50, 50, 100)


def test_a_weight_that_has_been_full_for_the_window_is_no_annealing_though_few_epochs_have_a_kl(tmp_path: Path) -> None:
    pd.DataFrame({"val_kl_loss": RARELY, "kl_weight": ANNEALED, "loss": 1})[:72].to_csv(tmp_path / "h.csv")
    found = diagnose(read_history(tmp_path / "h.csv"), latent_dim=8)
    assert found.verdict == "unknown"
    assert found.reasons[0].startswith("4 values of the KL in 22 epochs at one KL weight are too few: it takes 5")


@pytest.mark.parametrize("rate", [2, 3, 5])
@pytest.mark.parametrize("family", [first_family, held_out_family, recorded])
def test_known_histories_of_which_some_epochs_have_a_kl_give_no_false_alarm(
    family: Callable[[], Iterator[Known]], rate: int, tmp_path: Path
) -> None:
    for known in family():
        frame = known.frame.astype(object)
        for name in ("kl_loss", "val_kl_loss"):
            if name in frame:
                frame.loc[frame.index % rate != rate - 1, name] = ""
        frame.to_csv(tmp_path / "history.csv", index=False, na_rep="nan")
        told = diagnose(read_history(tmp_path / "history.csv"), latent_dim=known.latent_dim).verdict
        assert known.truth != "healthy" or told in ("healthy", "unknown"), known.name
        assert known.truth != "annealing" or told in ("annealing", "unknown"), known.name


def test_a_weight_that_the_loss_refutes_is_said_first_and_not_taken(tmp_path: Path) -> None:
    error = 50 + GROWING[::-1]
    found = written(tmp_path, loss=error, reconstruction_loss=error, kl_loss=5 * GROWING, kl_weight=ANNEALED)
    assert found.reasons[0] == found.refutation
    assert "the KL weight was 0 in every epoch: the one that was logged, 0 to 1, has no effect" in found.refutation
    assert (found.numbers["kl_weight"], found.numbers["annealing_epochs"]) == (0, 0)
    assert found.next.startswith("Let the loss read the KL weight in every step")
    assert written(tmp_path, loss=error + ANNEALED, reconstruction_loss=error, kl_loss=1.0).refutation == ""
