"""Whole studies through the command line, in this process."""

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from klsearch.search.storage.place import known_place
from klsearch.search.storage.records import load_study
from klsearch.vae.evaluation.samples import ColumnErrors

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]
Edit = Callable[[Path, str, str], None]
Contents = Callable[[Path], dict[str, str]]


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """A document of trials without the seconds that they took."""
    return {**document, "trials": [{**trial, "seconds": None} for trial in document["trials"]]}


@pytest.mark.slow("trains two thirds of a study once more")
def test_a_study_of_which_the_lines_before_a_damaged_one_are_kept_ends_as_it_was(
    finished_copy: "Finished", klsearch: Klsearch
) -> None:
    folder = finished_copy.folder
    journal, before = folder / "storage.journal", klsearch("trials", folder, "--json").document
    lines = journal.read_bytes().splitlines(keepends=True)
    at = len(lines) // 3
    journal.write_bytes(b"".join([*lines[:at], lines[at].replace(b"1", b"7", 1), *lines[at + 1 :]]))
    told = klsearch("resume", folder)
    assert (told.code, f"line {at + 1} is damaged" in told.err) == (4, True)
    subprocess.run(told.err.strip().partition("is trained again: ")[2], shell=True, check=True)
    assert klsearch("resume", folder).code == 0
    assert timeless(klsearch("trials", folder, "--json").document) == timeless(before)


def test_a_run_leaves_its_folder_and_prints_the_result_alone(finished: "Finished") -> None:
    assert {path.name for path in finished.folder.iterdir()} == {
        *(".lock", "report.html", "run.json", "storage.journal", "study.toml", "trials.csv"),
    }
    verdict, *lines = finished.called.out.splitlines()
    assert verdict.partition(":")[0] in ("STABLE", "STABLE, WITH CAVEATS", "NOT STABLE")
    assert any("median on the test split" in line for line in lines)
    for name in ("winner", "before", "after", "mine"):
        assert any(line.startswith(name) and line.endswith("of 8") for line in lines)
    assert lines[-1] == f"Report: {finished.folder / 'report.html'}"
    assert "klsearch resume" not in finished.called.out


def test_progress_goes_to_standard_error_and_holds_no_noise(finished: "Finished") -> None:
    beginnings = (
        "Loading ",
        "warning: ",
        "Compiling the training program, for 8 trials",
        "trials ",
        "Scoring ",
        "Writing ",
    )
    lines = finished.called.err.splitlines()
    phases = (
        "racing the leading trials ",
        "confirming on fresh seeds ",
        "drawing the winner's ladder ",
        "KL is in the band ",
    )
    assert [line for line in lines if not line.startswith((*beginnings, *phases))] == []
    assert any(line.startswith("racing the leading trials 15/15") for line in lines)
    assert any(line.startswith("trials 24/24 · best trial ") for line in lines)
    assert any(line.startswith("confirming on fresh seeds 32/32") for line in lines)


def test_texts_for_people_agree_with_the_documents(finished: "Finished", klsearch: Klsearch) -> None:
    document = klsearch("best", finished.folder, "--json").document
    best = klsearch("best", finished.folder).out
    assert best.startswith(f"{document['verdict'].upper()}: {document['sentence']}\n")
    assert f"Trial {document['trial']}, the winner" in best
    status = klsearch("status", finished.folder).out
    assert status.startswith("tiny: 24 of 24 trials done (24 complete)\n")
    assert "confirmation: 38 of 38 trainings done" in status
    lines = klsearch("trials", finished.folder).out.splitlines()
    assert len(lines) == 25
    assert lines[0].split()[:3] == ["trial", "state", "score"]


def test_trials_as_csv_are_the_run_s_trials_csv(finished: "Finished", klsearch: Klsearch) -> None:
    printed = klsearch("trials", finished.folder, "--csv").out
    assert printed == (finished.folder / "trials.csv").read_text()
    listed = klsearch("trials", finished.folder, "--json").document["trials"]
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [float(row["score"]) for row in rows] == pytest.approx([trial["score"] for trial in listed])
    assert klsearch("trials", finished.folder, "--csv", "--json").code == 2


def test_the_report_is_written_again_from_the_storage_alone(
    finished: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    (tmp_path / "moved").mkdir()
    for name in ("run.json", "storage.journal"):
        shutil.copy(finished.folder / name, tmp_path / "moved" / name)
    called = klsearch("report", tmp_path / "moved", "-o", tmp_path / "out.html")
    assert (called.code, called.out) == (0, f"{tmp_path / 'out.html'}\n")
    assert "<html" in (tmp_path / "out.html").read_text()


def test_a_report_of_a_study_in_a_shared_storage_makes_a_run_folder_in_which_it_goes_on(
    finished_copy: "Finished", klsearch: Klsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--storage", f"journal:///{finished_copy.folder / 'storage.journal'}", "--study", "tiny")
    called = klsearch("report", *options)
    assert (called.code, called.out) == (0, f"{tmp_path}/runs/tiny/report.html\n")
    assert {path.name for path in Path("runs/tiny").iterdir()} == {"report.html", "run.json", "study.toml"}
    again = klsearch("run", finished_copy.definition_file, *options, "--quiet")
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_page_is_renewed_but_no_other_file_is_overwritten(
    command: str, finished: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    runs = [finished.folder] * (2 if command == "compare" else 1)
    mine = tmp_path / "index.html"
    mine.write_text("<!doctype html><title>mine</title>")
    refused = klsearch(command, *runs, "-o", mine)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"klsearch: {mine} is not a page that klsearch wrote, so it is not overwritten; name another file.\n"
    )
    assert mine.read_text() == "<!doctype html><title>mine</title>"
    for _ in range(2):
        assert klsearch(command, *runs, "-o", tmp_path / "ours.html").code == 0


def test_two_runs_are_compared_beside_the_first(
    finished_copy: "Finished", klsearch: Klsearch, tmp_path: Path, contents: Contents
) -> None:
    before = contents(finished_copy.folder)
    called = klsearch("compare", finished_copy.folder, finished_copy.folder)
    assert (called.code, called.err) == (0, "")
    written = finished_copy.folder / "compared-run-with-run.html"
    headline, path = called.out.splitlines()
    assert headline.startswith("No clear difference in reconstruction: ")
    assert path == str(written)
    assert "tiny (A) and tiny (B)" in written.read_text()
    assert contents(finished_copy.folder) == before | {written.name: contents(finished_copy.folder)[written.name]}
    url = f"journal:///{finished_copy.folder / 'storage.journal'}"
    named = klsearch("compare", "tiny", "tiny", "--storage", url, "-o", tmp_path / "by-name.html")
    assert named.code == 0, named.err
    refused = klsearch("compare", finished_copy.folder, finished_copy.folder, "-o", tmp_path)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "comparison.html" in refused.err
    assert klsearch("compare", finished_copy.folder, tmp_path / "nothing").code == 2


def test_the_columns_of_a_table_are_kept_for_the_report_and_left_out_when_asked(
    finished: "Finished", klsearch: Klsearch, tmp_path: Path
) -> None:
    samples = load_study(known_place(str(finished.folder), storage=None, study=None)).samples
    assert isinstance(samples, ColumnErrors)
    winner = klsearch("best", finished.folder, "--json").document["trial"]
    assert samples.names == (f"trial {winner}", "before", "after", "mine")
    assert (sorted(samples.columns), samples.split, samples.of) == (list("abcdef"), "test", 6)
    assert 'id="columns"' in (finished.folder / "report.html").read_text()
    assert klsearch("report", finished.folder, "--no-samples", "-o", tmp_path / "out.html").code == 0
    without = (tmp_path / "out.html").read_text()
    assert 'id="columns"' not in without
    assert "No data is in this report." in without


def test_another_study_in_the_folder_of_a_run_is_refused(
    finished_copy: "Finished", klsearch: Klsearch, contents: Contents
) -> None:
    before = contents(finished_copy.folder)
    called = klsearch("run", finished_copy.definition_file, "--study", "other", "--out", finished_copy.folder)
    assert called.code == 2
    assert "holds study 'tiny', not 'other'" in called.err
    assert contents(finished_copy.folder) == before


def test_a_time_that_is_over_leaves_a_partial_study_and_says_how_to_go_on(
    definition_file: Path, klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(definition_file.parent)
    called = klsearch("run", "tiny.toml", "--timeout", "0s", "--slots", 8)
    assert called.code == 0
    assert called.out.startswith("NOT ENOUGH EVIDENCE: No trial has finished yet")
    assert "0 of 24 trials are done. Go on with: klsearch resume runs/tiny" in called.out
    assert "Report: " in called.out
    assert Path("runs/tiny/report.html").exists()
    assert klsearch("status", "tiny", "--json").document["counts"]["complete"] == 0
    assert klsearch("trials", "tiny", "--json").document["trials"] == []


PASSWORD = "sw0rdfish"


def everything_said(called: "Called", folder: Path) -> str:
    files = [path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file()]
    return "\n".join([called.out, called.err, *files])


def test_a_study_run_in_two_parts_on_a_server_is_the_one_run_at_once_in_its_folder(
    finished: "Finished", definition_file: Path, klsearch: Klsearch, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First 8 of 24 trials, then the rest and the confirmation: trials, scores and verdict are the same numbers."""
    work = definition_file.parent
    monkeypatch.chdir(work)
    first = klsearch("run", "tiny.toml", "--trials", 8, "--slots", 8, "--storage", postgres, "--no-confirm")
    assert first.code == 0, first.err
    assert PASSWORD not in everything_said(first, work)
    assert json.loads((work / "runs/tiny/run.json").read_text())["storage"].startswith(
        "postgresql+psycopg://searcher@/"
    )

    assert klsearch("best", "tiny").code == 4, "the run folder does not hold the password"
    monkeypatch.setenv("KLSEARCH_STORAGE", postgres.replace(PASSWORD, "wr0ng"))
    refused = klsearch("resume", "tiny")
    assert refused.code == 4
    assert 'password authentication failed for user "searcher"' in refused.err
    assert "wr0ng" not in everything_said(refused, work)
    monkeypatch.delenv("KLSEARCH_STORAGE")

    shutil.rmtree(work / "runs")
    second = klsearch("resume", "--storage", postgres, "--study", "tiny", "--trials", 24, "--json")
    assert second.code == 0, second.err
    assert "Going on with tiny: 8 of 24 trials done, 0 taken up again." in second.err
    assert PASSWORD not in everything_said(second, work)
    assert second.document == klsearch("best", finished.folder, "--json").document
    monkeypatch.setenv("KLSEARCH_STORAGE", postgres)
    trials = klsearch("trials", "tiny", "--json")
    assert PASSWORD not in everything_said(trials, work)
    assert timeless(trials.document) == timeless(klsearch("trials", finished.folder, "--json").document)


@pytest.mark.slow("searches and confirms a whole study")
def test_a_study_with_trials_that_diverge_ends_with_valid_documents(
    definition_file: Path, klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch, edit: Edit
) -> None:
    """Huge values unscaled, and step sizes up to 1e30."""
    monkeypatch.chdir(definition_file.parent)
    rows = np.loadtxt("rows.csv", delimiter=",", skiprows=1)
    np.savetxt("rows.csv", 1e6 * rows, delimiter=",", header="a,b,c,d,e,f", comments="")
    edit(definition_file, 'source = "rows.csv"', 'source = "rows.csv"\nscaling = "none"')
    edit(definition_file, "seeds = 8\ntop = 2", "seeds = 2\ntop = 2")
    edit(definition_file, "[space]\n", "[space]\nlearning_rate = { low = 1e-2, high = 1e30, log = true }\n")
    called = klsearch("run", "tiny.toml", "--slots", 2, "--trials", 6, "--json", "--quiet")
    assert (called.code, called.err) == (0, "")
    assert "NaN" not in called.out
    assert "Infinity" not in called.out
    trials = klsearch("trials", "tiny", "--json").document["trials"]
    diverged = [trial for trial in trials if trial["diverged"]]
    assert len(trials) == 6
    assert diverged
    for trial in diverged:
        assert (trial["state"], trial["score"], trial["feasible"]) == ("complete", 3.0, False)
        assert (trial["kl"], trial["kl_sum"], trial["unexplained"]) == (None, None, None)
        assert not any(trial["gates"].values())
    assert all(trial["score"] <= 3.0 for trial in trials)
    best = called.document
    assert best["verdict"] == "not enough evidence"
    assert best["trial"] not in [trial["number"] for trial in diverged] or len(diverged) == 6
    assert klsearch("status", "tiny").code == 0
    assert klsearch("trials", "tiny").code == 0
    assert klsearch("best", "tiny").code == 0


@pytest.mark.slow("searches whole studies")
def test_who_goes_on_with_a_study_divides_operations_as_who_began_it(
    finished_copy: "Finished", klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that is alone in its thread gets other bits from operations that are divided otherwise."""
    journal = finished_copy.folder / "storage.journal"
    unsealed = re.sub(r',"crc":"[\da-f]{8}"\}$', "}", journal.read_text(), flags=re.MULTILINE)
    journal.write_text(re.sub(r'(\\"within\\": )\d+', r"\g<1>3", unsealed))
    loaded = []
    for module in ("klsearch.search.training.tensorflow", "klsearch.search.run_study"):
        monkeypatch.setattr(f"{module}.load_tensorflow", lambda *, within: loaded.append(within))
    further = ("--trials", 25, "--no-confirm", "--quiet")
    assert klsearch("resume", finished_copy.folder, *further).code == 0
    assert (
        klsearch("run", finished_copy.definition_file, "--out", finished_copy.folder, "--trials", 26, *further[2:]).code
        == 0
    )
    assert klsearch("reproduce", finished_copy.folder, 0).code == 0
    assert loaded == [3, 3, 3]


def test_a_truncated_checkpoint_is_said_in_one_line_and_set_aside(
    finished_copy: "Finished", klsearch: Klsearch
) -> None:
    damaged = finished_copy.folder / "checkpoint" / "damaged.npz"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PK\x03\x04 not the whole of it")
    called = klsearch("resume", finished_copy.folder, "--trials", 25, "--no-confirm")
    assert called.code == 0, called.err
    (line,) = (line for line in called.err.splitlines() if "checkpoint" in line)
    assert line.startswith(f"warning: {damaged} is damaged or of something else; it was set aside as {damaged.name}.da")
    assert damaged.with_name("damaged.npz.damaged").read_bytes() == b"PK\x03\x04 not the whole of it"


def test_a_folder_that_cannot_be_written_is_one_clear_line(klsearch: Klsearch, definition_file: Path) -> None:
    called = klsearch("run", definition_file, "--out", "/proc/klsearch", "--slots", 2, "--quiet")
    assert (called.code, called.out) == (1, "")
    assert called.err == "klsearch: /proc/klsearch: No such file or directory\n"
