"""What a report says: no number that its files do not give, and no sentence that another excludes."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from klsearch.reports.page import Block, Fold, Gallery, Page, Prose, Steps, Table
from klsearch.reports.report import render_report, report_page
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.diagnostics.gates import Verdict

Make = Callable[..., StudyRecord]


def carried(html: str, name: str) -> pd.DataFrame:
    """A file that a report carries, as anyone would read it."""
    (data,) = re.findall(rf'download="{name}" href="data:text/csv;charset=utf-8,([^"]*)"', html)
    return pd.read_csv(io.StringIO(unquote(unescape(data))))


def blocks_of(page: Page) -> Iterator[Block]:
    waiting = [block for section in page.sections for block in section.blocks]
    while waiting:
        block = waiting.pop(0)
        yield block
        if isinstance(block, Fold):
            waiting += block.blocks


def sentences(page: Page) -> str:
    """Everything that the page says in sentences."""
    said = [page.banner.sentence]
    for block in blocks_of(page):
        said += [block.text] if isinstance(block, Prose) else []
        said += [f"{step.action}. {step.reason}" for step in block.items] if isinstance(block, Steps) else []
        said += [f"{one.caption} {one.alternative}" for one in block.exhibits] if isinstance(block, Gallery) else []
    return "\n".join(said)


def table(page: Page, caption: str) -> dict[str, tuple[Any, ...]]:
    """A table's rows by their first cells; empty where the page has no such table."""
    found = [block for block in blocks_of(page) if isinstance(block, Table) and block.caption.startswith(caption)]
    return {str(row[0]): row[1:] for one in found for row in one.rows}


def close(told: str, value: float) -> bool:
    """Whether a number as told is this one, to the digits in which it is told."""
    digits = len(told.partition(".")[2])
    return abs(float(told) - value) <= 0.5001 * 10.0**-digits


def changed(study: StudyRecord, factors: dict[str, list[float]]) -> StudyRecord:
    """The study with each candidate's `unexplained` on the test split multiplied, seed by seed."""

    def change(run: ConfirmationRun) -> ConfirmationRun:
        name = "winner" if run.trial == study.winner else run.candidate
        if run.test is None or name not in factors:
            return run
        factor = factors[name][run.seed % len(factors[name])]
        return replace(run, test=replace(run.test, unexplained=0.3 * factor))

    return replace(study, confirmation=tuple(map(change, study.confirmation)))


noise = st.lists(st.floats(0.9, 1.1), min_size=8, max_size=8)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    winner=noise, mine=noise, shift=st.sampled_from([0.8, 0.97, 0.99, 1.0, 1.01, 1.03, 1.2]), fails=st.integers(0, 8)
)
def test_no_two_sentences_of_a_report_exclude_each_other(
    make: Make, winner: list[float], mine: list[float], shift: float, fails: int
) -> None:
    """`mine` passes every gate on all 8 seeds, so that only reconstruction and `fails` tell the winner from it."""
    made = make(30, baselines={"mine": {"kl_weight": 0.1}})
    assert sum(run.passed for run in made.confirmation if run.candidate == "mine") == 8
    study = changed(made, {"winner": winner, "mine": [shift * one for one in mine]})
    seeds = sorted(run.seed for run in study.confirmation if run.trial == study.winner)[:fails]
    study = replace(
        study,
        confirmation=tuple(
            replace(
                run, gates=tuple(replace(gate, passed=gate.passed and gate.name != "settled") for gate in run.gates)
            )
            if run.trial == study.winner and run.seed in seeds
            else run
            for run in study.confirmation
        ),
    )
    page, found = report_page(study), summarize(study)
    said, titles = sentences(page), [section.title for section in page.sections]
    usable = found.verdict in (Verdict.STABLE, Verdict.CAVEATS)
    assert page.banner.word == found.verdict.capitalize()
    beaten = any(caveat.endswith("does better") for caveat in found.caveats)
    assert ("Set these" in titles) == ("Use the settings of trial" in said) == (usable and not beaten)
    assert ("Use the settings of mine, not the winner's" in said) == (usable and beaten)
    assert not (usable and "Do not rely on" in said)
    assert not ("Stop searching" in said and re.search(r"Widen the range|Search on", said))
    # One baseline, told in the verdict, the table and the advice: always the same way.
    rows = table(page, "Winner less baseline")
    for price in found.price:
        reading = str(rows[price.baseline][-1])
        same = re.search(rf"`{price.baseline}` (on \d seeds, too few to tell )?\(95 %:", said) is not None
        surely = "lower" if price.high < 0 else "higher" if price.low > 0 else "not distinguishable"
        assert reading.endswith(f"unexplained {surely}")
        if max(abs(price.low), abs(price.high)) >= 0.001:
            assert same == (surely == "not distinguishable")
        does_as_well = any(f"baseline {price.baseline} does" in caveat for caveat in found.caveats)
        ties = price.baseline == "mine" and fails < 8 and surely != "lower"
        assert does_as_well == ties, "no tie with one that is surely worse"
        assert (f"Consider keeping the settings of {price.baseline}" in said) == (ties and usable and not beaten)
    failing = {name: row[-1] for name, row in table(page, "Fresh seeds").items() if row[0].text.startswith("0 of")}
    assert {"before", "after"} <= set(failing) and all(failing.values()), "who fails is told why"


def test_the_numbers_of_the_advice_and_of_the_proof_are_those_of_the_files(make: Make) -> None:
    study = make(30, space={"kl_weight": {"low": 1e-4, "high": 1e-3, "log": True}}, study={"trials": 30})
    html, page = render_report(study), report_page(study)
    runs, said = carried(html, "confirmation.csv"), sentences(page)
    winner = runs[runs["name"] == "winner"]
    assert not winner["passed"].any() and (winner["kl"] > 5).all()
    (failing, of, low, high) = re.findall(
        r"(\d+) of (\d+) trainings end above the band of 0 to 5, at a KL of (\S+) to (\S+) where", said
    )[0]
    assert (int(failing), int(of)) == (len(winner), len(winner))
    assert (low, high) == (f"{winner['kl'].min():.3g}", f"{winner['kl'].max():.3g}")
    # The weight advised: ln KL over ln weight, through the trials and the seeds, at the middle of the band.
    trials = pd.concat([carried(html, "trials.csv"), winner])
    trials = trials[np.isfinite(trials["kl"])]
    slope, level = np.polyfit(np.log10(trials["kl_weight"]), np.log10(trials["kl"]), 1)
    aim = min((np.log10(2.5) - level) / slope, np.log10(trials["kl_weight"].max()) + 1)
    (told,) = set(re.findall(r"Raise the KL weight to about ([\d.e-]+[\de])", said))
    assert float(told) == pytest.approx(10**aim, rel=0.06)


def test_the_numbers_of_the_reasons_and_differences_are_those_of_the_files(study: StudyRecord) -> None:
    html, page = render_report(study), report_page(study)
    trials, runs = carried(html, "trials.csv"), carried(html, "confirmation.csv")
    gates = [name for name in map(str, trials) if name.startswith("gate_")]
    said = sentences(page)
    passed, of = re.findall(r"Every gate is passed by (\d+) of (\d+) trials", said)[0]
    assert (int(passed), int(of)) == (int(trials[gates].all(axis=1).sum()), len(trials))
    above = trials[(trials["gate_band"] == False) & (trials["kl"] > 5)]  # noqa: E712 # missing where it diverged
    assert table(page, "Reasons")["KL ends above the band"][0] == str(len(above))
    collapsed = trials[(trials["gate_alive"] == False) & (trials["gate_band"] == True)]  # noqa: E712
    assert f"{len(collapsed)} trials ended with a KL inside the band and yet collapsed" in said
    for name, row in table(page, "Winner less baseline").items():
        sides = [runs[runs["name"] == one].set_index("seed").sort_index() for one in ("winner", name)]
        seeds = sides[0].index.intersection(sides[1].index)
        kl, unexplained = (
            [side.loc[seeds, column].to_numpy() for side in sides] for column in ("test_kl", "test_unexplained")
        )
        ends = ttest_rel(*kl).confidence_interval()
        found = [np.mean(kl[0] - kl[1]), ends.low, ends.high]
        logs = [np.log(one) for one in unexplained]
        ends = ttest_rel(*logs).confidence_interval()
        found += list(100 * np.expm1([np.mean(logs[0] - logs[1]), ends.low, ends.high]))
        told = re.findall(r"-?\d+(?:\.\d+)?", " ".join(str(cell) for cell in row[:4]).replace("95 %", ""))
        assert len(told) == len(found)
        assert all(close(one, value) for one, value in zip(told, found, strict=True)), (name, told, found)


def test_a_number_of_a_trial_s_point_is_that_of_its_row(study: StudyRecord) -> None:
    html = render_report(study)
    trials = carried(html, "trials.csv").set_index("number")
    points = re.findall(
        r'href="#trial-(\d+)"><title>trial \d+, [^<:]*: final KL (\S+) nats per latent, unexplained ([^<]+)<', html
    )
    assert len(points) > 40
    for trial, kl, unexplained in points:
        row = trials.loc[int(trial)]
        assert float(kl) == pytest.approx(row["kl"], rel=5.1e-4)
        assert float(unexplained) == pytest.approx(row["unexplained"], rel=5.1e-4)
