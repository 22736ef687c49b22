"""Rivals as baselines, a band from a reference run and a probe of labels, from a definition to what is reported."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from klsearch.search.storage.place import named_place
from klsearch.search.storage.records import load_study
from klsearch.search.storage.rows import Row
from klsearch.studies.ladder import CLOSING_RUNGS
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import runs_of

if TYPE_CHECKING:
    from tests.search.conftest import Called, Process

pytestmark = pytest.mark.slow("searches and confirms with every rival")

METHODS = {"beta1": "beta1", "fitted": "sigma", "aimed": "control"}
TABLES = "".join(f'\n[baselines.{name}]\nmethod = "{method}"\n' for name, method in METHODS.items())


@dataclass(frozen=True, slots=True)
class Rivalled:
    """A finished study of labelled rows whose band was found, with every rival among its baselines."""

    folder: Path
    definition_file: Path
    called: "Called"
    study: StudyRecord


@pytest.fixture(scope="module")
def rivalled(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Path], klsearch: Callable[..., "Called"]
) -> Rivalled:
    folder = tmp_path_factory.mktemp("rivalled")
    definition = write(
        folder,
        ("trials = 24", 'trials = 6\nkl_band = "auto"'),
        ('source = "rows.csv"', 'source = "rows.csv"\nlabels = "label"'),
        ("seeds = 8\ntop = 2", "seeds = 2\ntop = 1"),
        ("[confirmation]", f"{TABLES}\n[confirmation]"),
    )
    label_rows(folder / "rows.csv")
    called = klsearch("run", definition, "--out", folder / "run", "--slots", 4)
    assert called.code == 0, called.err
    return Rivalled(folder / "run", definition, called, load_study(named_place(str(folder / "run"), None)))


def label_rows(path: Path) -> None:
    """A label for each row: whether its first column is positive."""
    header, *rows = path.read_text().splitlines()
    named = [f"{row},{'plus' if float(row.split(',')[0]) > 0 else 'minus'}" for row in rows]
    path.write_text("\n".join([f"{header},label", *named, ""]))


def test_every_rival_is_confirmed_and_tested_like_any_baseline(rivalled: Rivalled) -> None:
    for name, method in METHODS.items():
        runs = runs_of(rivalled.study, name)
        assert [(run.epochs, run.test is not None) for run in runs] == [(12, True)] * 2
        assert rivalled.study.definition.baseline_method(name) == method
        assert len({run.seed for run in runs} & {run.seed for run in runs_of(rivalled.study, "winner")}) == 2


def test_their_kl_weight_over_time_is_recorded(rivalled: Rivalled) -> None:
    of = {name: runs_of(rivalled.study, name)[0].curves for name in METHODS}
    plain, fitted, aimed = (curves for curves in of.values() if curves is not None)
    assert set(plain.kl_weight) == {3.0}, "β = 1 is d where the KL is a mean over latents"
    assert fitted.kl_weight == pytest.approx(2 * fitted.reconstruction / 6 * 3, rel=1e-5)
    assert len(set(aimed.kl_weight)) == 12


def test_the_band_lies_around_the_reference_s_kl_and_says_so(rivalled: Rivalled) -> None:
    reference = rivalled.study.reference
    assert reference is not None
    assert (reference.method, reference.seeds) == ("sigma", 2)
    assert reference.kl_band == pytest.approx((0.5 * reference.kl, 1.5 * reference.kl), rel=0.01)
    assert rivalled.study.definition.thresholds().kl_band == reference.kl_band
    low, high = reference.kl_band
    assert f"KL band: {low:g} to {high:g} nats per latent, half to one and a half times" in rivalled.called.err
    report = (rivalled.folder / "report.html").read_text()
    assert "The band was not given but taken from a reference" in report
    assert "More useful downstream?" in report


def test_the_documents_name_methods_band_and_probe(rivalled: Rivalled, klsearch: Callable[..., "Called"]) -> None:
    document = klsearch("best", rivalled.folder, "--json").document
    assert rivalled.study.reference is not None
    assert document["kl_band"] == list(rivalled.study.reference.kl_band)
    assert document["kl_band_reference"]["method"] == "sigma"
    assert document["probe_measure"] == "accuracy"
    entries: list[dict[str, Any]] = document["confirmation"]
    assert {entry["name"]: entry["method"] for entry in entries if entry["method"]} == METHODS
    assert {entry["split"] for entry in entries} == {"validation", "test"}
    assert all(0.4 < entry["probe"] <= 1 for entry in entries)


def test_the_table_of_the_winner_shows_the_probe(rivalled: Rivalled, klsearch: Callable[..., "Called"]) -> None:
    lines = klsearch("best", rivalled.folder).out.splitlines()
    header = next(line for line in lines if line.startswith("median on the test split"))
    assert header.endswith("probe accuracy")
    assert {line.split()[0] for line in lines if line[-1:].isdigit() and " of 2 " in line} >= {"winner", *METHODS}


def test_a_study_that_goes_on_keeps_the_band_that_was_found(
    rivalled: Rivalled, klsearch: Callable[..., "Called"]
) -> None:
    again = klsearch("run", rivalled.definition_file, "--out", rivalled.folder, "--slots", 4)
    assert again.code == 0, again.err
    assert "reference" not in again.err
    study = load_study(named_place(str(rivalled.folder), None))
    assert study.reference == rivalled.study.reference
    assert (study.fingerprint, study.winner, study.test_looks) == (
        rivalled.study.fingerprint,
        rivalled.study.winner,
        1,
    )


def test_another_band_is_another_study(rivalled: Rivalled, klsearch: Callable[..., "Called"], tmp_path: Path) -> None:
    for name in ("rows.csv", "tiny.toml"):
        (tmp_path / name).write_text((rivalled.definition_file.parent / name).read_text())
    toml = tmp_path / "tiny.toml"
    toml.write_text(toml.read_text().replace('"auto"', "[0.0, 5.0]"))
    refused = klsearch("run", toml, "--out", rivalled.folder)
    assert refused.code == 2
    assert "study.kl_band: 'auto', now [0.0, 5.0]" in refused.err


@pytest.mark.faults
def test_killed_while_each_rival_is_confirmed_a_study_ends_as_if_it_never_were(
    start: Callable[..., "Process"],
    command: list[str],
    klsearch: Callable[..., "Called"],
    rows_in: Callable[..., list[Row]],
    outcomes: Callable[[Iterable[Row]], list[dict[str, Any]]],
    tmp_path: Path,
    write: Callable[..., Path],
) -> None:
    definition = write(
        tmp_path,
        ("epochs = 12", "epochs = 600"),  # some seconds for each rival
        ("trials = 24", "trials = 4"),
        ("seeds = 8\ntop = 2", "seeds = 4\ntop = 1"),
        ("[confirmation]", f"{TABLES}\n[confirmation]"),
    )

    def arguments(name: str) -> tuple[str, ...]:
        return ("run", str(definition), "--out", str(tmp_path / name), "--slots", "4", "--no-progress")

    def confirmation_of(name: str) -> list[Row]:
        return rows_in(tmp_path / name, confirmation=True)

    def has_begun(label: str) -> bool:
        return any(row.run.label == label for row in confirmation_of("killed"))

    whole = klsearch(*arguments("whole"))
    assert whole.code == 0, whole.err
    for name in METHODS:
        process = start(*command, *arguments("killed"), cwd=tmp_path, err=tmp_path / "err")
        process.wait_until(partial(has_begun, name))
        time.sleep(1.2)  # long enough for a checkpoint
        process.kill()
        process.wait()
        cut_off = [row for row in confirmation_of("killed") if row.run.label == name]
        assert {row.state for row in cut_off} == {TrialState.RUNNING}
    ended = klsearch("resume", tmp_path / "killed", "--no-progress")
    assert ended.code == 0, ended.err
    assert "Traceback" not in (tmp_path / "err").read_text()
    killed, uninterrupted = (
        {(left["run"].label, left["run"]): left for left in outcomes(confirmation_of(name))}
        for name in ("killed", "whole")
    )
    seeds = Counter(label for label, _ in killed)
    (leader,) = (label for label in seeds if label.startswith("trial "))
    assert seeds.pop("ladder") == CLOSING_RUNGS
    assert seeds.keys() == {leader, "before", "after", "mine", *METHODS}
    assert seeds[leader] == 4
    assert set(seeds.values()) <= {3, 4}, "whoever fails three times leaves"
    assert killed == uninterrupted
