"""Every number at the top of a report, worked out again from the files that the same report carries."""

import io
import re
from collections.abc import Callable
from html import unescape
from urllib.parse import unquote

import pandas as pd
import pytest
from scipy.stats import binomtest

LATENTS = 8


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
    assert numbers(sentence) == [trial, passed, seeds, 95, round(interval.low, 2), round(interval.high, 2)]
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
    assert numbers(sentence) == [best["number"], 0, 8]
    assert float(shown["Final KL"][0]) == pytest.approx(best["kl"], rel=1e-3)
    assert float(shown["Unexplained"][0]) == pytest.approx(best["unexplained"], rel=1e-3)
