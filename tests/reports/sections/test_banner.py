"""The verdict: every number at the top is the one that the files give."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html import unescape
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_rel

from klsearch.reports.page import Banner
from klsearch.reports.report import render_report
from klsearch.reports.sections.banner import as_of, banner, partial_notice
from klsearch.reports.tables import confirmation_frame, trials_frame
from klsearch.reports.wording import duration, number, utc
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.diagnostics.gates import wilson_interval

Make = Callable[..., StudyRecord]

LATENTS = 8


def banner_of(study: StudyRecord) -> Banner:
    return banner(study, summarize(study))


def tile(study: StudyRecord, label: str) -> tuple[str, str]:
    """A tile's number and what stands below it."""
    (found,) = (tile for tile in banner_of(study).tiles if tile.label == label)
    return found.value, found.detail


def of(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["name"] == name]


def test_the_final_kl_is_the_median_over_the_winner_s_seeds(study: StudyRecord) -> None:
    kl = of(confirmation_frame(study), "winner")["kl"].median()
    value, detail = tile(study, "Final KL")
    assert value == number(kl)
    assert (
        detail
        == f"nats per latent, band 0 to 5; {number(8 * kl)} over all 8 latents; validation split; median of 8 seeds"
    )


def test_a_summed_band_leads_with_the_summed_kl(make: Make) -> None:
    study = make(30, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]})
    kl = of(confirmation_frame(study), "winner")["kl_sum"].median()
    value, detail = tile(study, "Final KL")
    assert value == number(kl)
    assert detail.startswith(f"nats over all latents, band 0 to 40; {number(kl / 8)} per latent")


def test_unexplained_is_that_of_the_test_split_with_every_baseline_beside_it(study: StudyRecord) -> None:
    frame = confirmation_frame(study)
    medians = {name: number(of(frame, name)["test_unexplained"].median()) for name in ("winner", "before", "after")}
    value, detail = tile(study, "Unexplained")
    assert value == medians["winner"]
    assert detail.endswith(f"test split; median of 8 seeds; before {medians['before']}; after {medians['after']}")


@pytest.mark.parametrize(("likelihood", "whole"), [("bernoulli", "variance"), ("negative_binomial", "deviance")])
def test_unexplained_is_a_share_of_what_the_likelihood_measures(make: Make, likelihood: str, whole: str) -> None:
    _, detail = tile(make(6, model={"likelihood": likelihood}), "Unexplained")
    assert detail.startswith(f"of the {whole}, test split")


def test_active_latents_are_the_fewest_of_any_seed(study: StudyRecord) -> None:
    fewest = of(confirmation_frame(study), "winner")["active_units"].min()
    assert tile(study, "Active latents")[0] == f"{fewest} of 8"


def test_passing_seeds_are_those_whose_gates_all_passed(study: StudyRecord) -> None:
    frame = confirmation_frame(study)
    gates = [name for name in frame.columns if name.startswith("gate_")]
    passed = int(of(frame, "winner")[gates].all(axis=1).sum())
    low, high = wilson_interval(passed, 8)
    value, detail = tile(study, "Seeds that pass")
    assert value == f"{passed} of 8"
    assert detail.startswith(f"95 % interval {low:.2f} to {high:.2f}; before 0 of 8")


def test_trials_are_counted_as_the_csv_holds_them(study: StudyRecord) -> None:
    frame = trials_frame(study)
    gates = frame[[name for name in frame.columns if name.startswith("gate_")]]
    passed, diverged = int(gates.all(axis=1).sum()), int((~frame["gate_finite"]).sum())
    value, detail = tile(study, "Trials finished")
    assert value == f"{(frame['state'] == 'complete').sum()} of 60"
    assert detail == (
        f"{passed} pass every gate, {len(frame) - passed - diverged} miss at least one, {diverged} diverged or failed"
    )


def test_the_training_time_is_the_sum_over_the_csv(study: StudyRecord) -> None:
    seconds = trials_frame(study)["seconds"]
    value, detail = tile(study, "Training time")
    assert value == duration(seconds.sum())
    assert detail.startswith(f"{duration(seconds.median())} per trial")


def test_an_unconfirmed_study_shows_its_best_feasible_trial(unconfirmed: StudyRecord) -> None:
    frame = trials_frame(unconfirmed)
    best = frame[frame["feasible"]].sort_values("score").iloc[0]
    assert tile(unconfirmed, "Final KL")[0] == number(best["kl"])
    assert tile(unconfirmed, "Unexplained") == (number(best["unexplained"]), "of the variance, validation split")
    assert "Seeds that pass" not in [tile.label for tile in banner_of(unconfirmed).tiles]


def price_of(runs: pd.DataFrame, baseline: str) -> tuple[float, float, float]:
    """The winner's relative difference in reconstruction from a baseline, in percent, with its interval."""
    test = runs[runs["split"] == "test"] if "split" in runs else runs
    column = "unexplained" if "split" in runs else "test_unexplained"
    winner, other = (np.log(test[test["name"] == name].sort_values("seed")[column]) for name in ("winner", baseline))
    interval = ttest_rel(winner.to_numpy(), other.to_numpy()).confidence_interval()
    change, low, high = 100 * np.expm1([np.mean(winner.to_numpy() - other.to_numpy()), interval.low, interval.high])
    return (change, low, high) if change > 0 or low < 0 < high else (change, high, low)


def test_the_sentence_holds_no_number_that_the_files_do_not(study: StudyRecord) -> None:
    winner = of(confirmation_frame(study), "winner")
    low, high = wilson_interval(int(winner["passed"].sum()), len(winner))
    known = {str(winner["trial"].iloc[0]), "8", "95", f"{low:.2f}", f"{high:.2f}"}
    for name in ("before", "after"):
        known |= {f"{abs(value):.2g}" for value in price_of(confirmation_frame(study), name)}
    assert set(re.findall(r"\d+(?:\.\d+)?", banner_of(study).sentence)) <= known


@pytest.mark.parametrize(
    ("kind", "word", "tone"),
    [("finished", "Stable", "good"), ("running", "Not enough evidence", "plain"), ("two trials", "Not stable", "bad")],
)
def test_word_and_tone_say_the_same(
    kind: str, word: str | None, tone: str, study_of_kind: Callable[[str], StudyRecord]
) -> None:
    top = banner_of(study_of_kind(kind))
    assert top.tone == tone
    assert word is None or top.word == word


def test_a_study_whose_winner_is_not_confirmed_is_partial(unconfirmed: StudyRecord) -> None:
    assert partial_notice(unconfirmed) == "Partial: all 60 trials have finished, but the winner is not confirmed yet."


def test_a_study_that_asks_for_no_confirmation_is_whole_without_one(make: Make) -> None:
    assert partial_notice(make(60, seeds=0, confirmation={"seeds": 0})) == ""


def test_times_are_told_in_utc_and_come_from_the_records(study: StudyRecord) -> None:
    tokyo = timezone(timedelta(hours=9))
    late = datetime(2031, 1, 1, 3, 4, 5, tzinfo=tokyo)
    trials = (*study.trials[:-1], replace(study.trials[-1], ended=late))
    assert as_of(replace(study, trials=trials)) == "2030-12-31 18:04:05 UTC"
    assert utc(datetime(2030, 1, 2)) == "2030-01-02 00:00:00 UTC"


def test_a_winner_confirmed_before_more_trials_finished_is_said_to_be(study: StudyRecord) -> None:
    assert banner_of(study).outdated == ""
    earlier = replace(study, confirmed_among=len(study.finished) - 3, resume_command="klsearch resume runs/made")
    assert "was confirmed before 3 more trials finished" in banner_of(earlier).outdated
    assert banner_of(earlier).outdated in render_report(earlier).replace("<code>", "`").replace("</code>", "`")


def carried(html: str, name: str) -> pd.DataFrame:
    """A file that a report carries, as anyone would read it."""
    (data,) = re.findall(rf'download="{name}" href="data:text/csv;charset=utf-8,([^"]*)"', html)
    return pd.read_csv(io.StringIO(unquote(unescape(data))))


def tiles(html: str) -> dict[str, tuple[str, str]]:
    found = re.findall(r"<div><dt>(.*?)</dt><dd><b>(.*?)</b><span>(.*?)</span>", html)
    return {label: (unescape(value), unescape(detail)) for label, value, detail in found}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def gates_passed(frame: pd.DataFrame) -> pd.Series:
    gates = frame[[name for name in frame.columns if name.startswith("gate_")]]
    return gates.map(lambda value: str(value) == "True").all(axis=1)


@pytest.mark.parametrize(("kind", "factor"), [("finished", 1), ("summed KL", LATENTS)])
def test_a_confirmed_verdict_follows_from_the_confirmation_runs(
    html_of: Callable[[str], str], kind: str, factor: int
) -> None:
    html = html_of(kind)
    runs, shown = carried(html, "confirmation.csv"), tiles(html)
    winner = runs[runs["name"] == "winner"]
    baselines = [runs[runs["name"] == name] for name in ("before", "after")]
    passed, seeds = int(gates_passed(winner).sum()), len(winner)
    interval = binomtest(passed, seeds).proportion_ci(method="wilson")

    (sentence,) = re.findall(r"<h1>Stable</h1>\s*<p>(.*?)</p>", html)
    trial = winner["trial"].iloc[0]
    told = numbers(sentence)
    assert told[:6] == [trial, passed, seeds, 95, round(interval.low, 2), round(interval.high, 2)]
    for place, name in ((6, "before"), (10, "after")):
        change, low, high = (abs(value) for value in price_of(runs, name))
        assert told[place : place + 4] == pytest.approx([change, 95, low, high], rel=0.06)
    assert passed == seeds >= 8, "which is what stable means"

    value, detail = shown["Seeds that pass"]
    assert numbers(value) == [passed, seeds]
    others = [number for one in baselines for number in (gates_passed(one).sum(), len(one))]
    assert numbers(detail) == [95, round(interval.low, 2), round(interval.high, 2), *others]

    kl = winner["kl"].median()
    value, detail = shown["Final KL"]
    assert float(value) == pytest.approx(factor * kl, rel=1e-3)
    assert f"{kl if factor > 1 else LATENTS * kl:.4g}" in detail

    value, detail = shown["Unexplained"]
    assert float(value) == pytest.approx(winner["test_unexplained"].median(), rel=1e-3)
    medians = [one["test_unexplained"].median() for one in baselines]
    assert numbers(detail)[-2:] == pytest.approx(medians, rel=1e-3)

    assert numbers(shown["Active latents"][0]) == [winner["active_units"].min(), LATENTS]


@pytest.mark.parametrize("kind", ["finished", "not confirmed", "running", "all diverged"])
def test_counts_and_times_follow_from_the_trials(html_of: Callable[[str], str], kind: str) -> None:
    html = html_of(kind)
    trials, shown = carried(html, "trials.csv"), tiles(html)
    complete = trials[trials["state"] == "complete"]
    passed = gates_passed(complete)
    # Nothing was measured of a trial that diverged.
    expected = {
        "pass every gate": passed.sum(),
        "miss at least one": (~passed & complete["kl"].notna()).sum(),
        "diverged or failed": complete["kl"].isna().sum(),
        "running": (trials["state"] == "running").sum(),
    }
    value, detail = shown["Trials finished"]
    assert numbers(value) == [len(complete), 60]
    assert detail == ", ".join(f"{n} {words}" for words, n in expected.items() if n)
    seconds = trials["seconds"].dropna()
    assert shown["Training time"][0] == f"{seconds.sum():.{0 if seconds.sum() > 9.5 else 1}f} s"
    assert numbers(shown["Training time"][1])[0] == pytest.approx(seconds.median(), rel=0.05)


def test_an_unconfirmed_leader_is_the_best_feasible_trial_of_the_file(html_of: Callable[[str], str]) -> None:
    html = html_of("not confirmed")
    trials, shown = carried(html, "trials.csv"), tiles(html)
    feasible = trials[trials["feasible"]]
    best = feasible.sort_values("score").iloc[0]
    (sentence,) = re.findall(r"<h1>Not enough evidence</h1>\s*<p>(.*?)</p>", html)
    assert numbers(sentence)[:3] == [best["number"], 0, 8]
    assert float(shown["Final KL"][0]) == pytest.approx(best["kl"], rel=1e-3)
    assert float(shown["Unexplained"][0]) == pytest.approx(best["unexplained"], rel=1e-3)
