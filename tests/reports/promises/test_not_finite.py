"""No sentence, table or tile has a number that is none, whichever seeds and trials diverged."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klsearch.reports.figures import search_exhibits, seed_exhibits
from klsearch.reports.page import Code
from klsearch.reports.pages.comparison import comparison_page
from klsearch.reports.report import report_page
from klsearch.reports.sections.models import dynamics, pictures
from klsearch.search.commands.text import best_text, reproduction_text, status_text, trials_text
from klsearch.search.storage.leases import Activity
from klsearch.search.terminal.progress import watched_values
from klsearch.studies.record import StudyRecord, TrainingRun

Run = TypeVar("Run", bound=TrainingRun)
Make = Callable[..., StudyRecord]
Diverged = Callable[[StudyRecord, str, int], StudyRecord]
# Code and keys such as `inf` stand between backticks.
NO_NUMBER = re.compile(r"(?<![\w`])-?(nan|inf)(?!\w)", re.IGNORECASE)


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Pictures are left out, which take most of a report's time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dynamics, pictures, search_exhibits, seed_exhibits):
            patch.setattr(module, "draw", lambda *_, **__: "<svg />")
        yield


def texts_in(part: Any) -> Iterator[str]:
    """Every text of a page but code, drawings and files."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, tuple):
        for one in part:
            yield from texts_in(one)
    elif is_dataclass(part) and not isinstance(part, Code):
        for field in fields(part):
            if field.name not in ("svg", "files", "path", "code"):
                yield from texts_in(getattr(part, field.name))


def faulty(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if NO_NUMBER.search(text)]


def space(low: float, high: float) -> dict[str, Any]:
    return {"kl_weight": {"low": low, "high": high, "log": True}, "encoder_dropout": {"low": 0.0, "high": 0.5}}


@st.composite
def studies_that_diverge(draw: st.DrawFn, make: Make, diverged: Diverged) -> StudyRecord:
    """A study of which some trials, and some seeds of winner and baselines, diverged: none, some, or all."""
    searched = space(*draw(st.sampled_from([(1e-3, 1.0), (1e-6, 1.0), (1e-6, 1e-5)])))
    study = make(draw(st.sampled_from([1, 20, 25])), seeds=draw(st.sampled_from([0, 1, 8])), space=searched)
    for name in ("winner", "before", "after"):
        study = diverged(study, name, draw(st.integers(0, 8)))
    # A training whose every step was finite may yet end at numbers that are not.
    value, every = draw(st.sampled_from([math.inf, -math.inf, math.nan])), draw(st.sampled_from([1, 3, 100]))
    trials = (unmeasured(trial, value) if trial.number % every == 0 else trial for trial in study.trials)
    runs = (unmeasured(run, value) if run.seed % every == 0 else run for run in study.confirmation)
    return replace(study, trials=tuple(trials), confirmation=tuple(runs))


def unmeasured(run: Run, value: float) -> Run:
    gates = tuple(replace(gate, passed=False, value=value) for gate in run.gates)
    return replace(run, kl=value, kl_slope=value, gates=gates)


@settings(max_examples=15)
@given(data=st.data())
def test_no_text_of_a_study_with_diverged_seeds_says_nan_or_inf(
    make: Make, diverged: Diverged, data: st.DataObject
) -> None:
    study = data.draw(studies_that_diverge(make, diverged))
    assert not faulty(texts_in(report_page(study)))
    assert not faulty(texts_in(comparison_page(study, make(20, space=space(1e-3, 1.0)))))
    assert not faulty([status_text(study, Activity(is_worked_on=True)), trials_text(study, study.trials)])
    # Settings are written as TOML, where -inf is a number.
    assert not faulty(line for line in best_text(study).splitlines() if " = " not in line)


def test_an_export_says_on_how_many_seeds_the_winner_diverged(study: StudyRecord, diverged: Diverged) -> None:
    from klsearch.search.commands.export import winner as export  # which loads TensorFlow

    told = export._expected(diverged(study, "winner", 1))
    assert not faulty([told])
    assert told.startswith("On 8 fresh seeds it ended at a KL of ")
    assert told.endswith(" nats per latent; on 1 of them it diverged.")
    assert export._expected(diverged(study, "winner", 8)) == "It diverged on all of 8 fresh seeds."


def test_a_running_training_that_diverged_is_shown_as_not_finite() -> None:
    values = {"epoch": 3, "epochs": 9, "kl": math.nan, "reconstruction": math.inf, "kl_weight": 0.1, "total": math.nan}
    shown = "KL not finite  reconstruction not finite  KL weight 0.1  total not finite"
    assert watched_values(values) == f"epoch 3/9  {shown}"


def test_what_differs_in_a_trial_that_diverged_is_told_in_words() -> None:
    from klsearch.search.running.reproduction import Reproduction  # which loads TensorFlow
    from klsearch.search.training.retraining import Mismatch

    mismatch = Mismatch(value="kl", place=None, stored=math.nan, now=-math.inf)
    found = Reproduction(study="digits", trial=1, seed=2, epochs=3, mismatches=(mismatch,), changed={})
    assert "kl: stored no number, now minus infinity" in reproduction_text(found)


def test_a_best_trial_that_diverged_is_called_so(unconfirmed: StudyRecord) -> None:
    lost = replace(unconfirmed, trials=tuple(replace(trial, kl=math.nan) for trial in unconfirmed.trials))
    assert ", diverged\n" in status_text(lost, Activity(is_worked_on=True))
