"""A study with which there is nothing to do."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished

Klsearch = Callable[..., "Called"]
COUNT_TENSORFLOW = (
    "import sys; from klsearch.search.cli import main; code = main(sys.argv[1:]); "
    "print('tensorflow' in sys.modules, code, file=sys.stderr)"
)


def nothing(folder: Path) -> str:
    return f"Nothing to do: 24 of 24 trials, confirmed; `klsearch resume {folder} --trials N` for more.\n"


@pytest.mark.parametrize("command", ["run", "resume"])
def test_what_is_done_is_told_at_once_without_loading_tensorflow(
    command: str, finished: "Finished", environment: dict[str, str]
) -> None:
    words = {"run": ["run", str(finished.definition_file), "--out"], "resume": ["resume"]}[command]
    began = time.monotonic()
    called = subprocess.run(
        [sys.executable, "-c", COUNT_TENSORFLOW, *words, str(finished.folder)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert time.monotonic() - began < 60, "18 seconds on an idle machine when it trained nothing"
    assert called.stderr.removeprefix("Loading the data…\n") == f"{nothing(finished.folder)}False 0\n", (
        "a slow machine loads for a while"
    )
    assert called.stdout == finished.called.out, "the result as it was"


def test_a_report_that_is_missing_is_written_again(finished_copy: "Finished", klsearch: Klsearch) -> None:
    (finished_copy.folder / "report.html").unlink()
    called = klsearch("resume", finished_copy.folder)
    assert called.err.endswith(f"{nothing(finished_copy.folder)}Writing the report…\n")
    assert (finished_copy.folder / "report.html").exists()


@pytest.mark.parametrize("command", ["resume", "report"])
def test_whoever_comes_to_a_finished_study_removes_what_a_killed_process_left_half_written(
    command: str, finished_copy: "Finished", klsearch: Klsearch
) -> None:
    folder = finished_copy.folder
    before = sorted(path.name for path in folder.iterdir())
    for name in (".report.html.0123456789abcdef.tmp", ".trials.csv.0123456789abcdef.tmp", ".mine.tmp"):
        (folder / name).touch()
    assert klsearch(command, folder).code == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, ".mine.tmp"])


LEFT = {
    "more trials": ["--trials", "25", "--no-confirm"],
    "another number of slots": ["--slots", "4"],
}


@pytest.mark.parametrize("left", LEFT)
def test_whatever_asks_for_more_or_for_something_else_goes_the_long_way(
    left: str, finished_copy: "Finished", klsearch: Klsearch
) -> None:
    called = klsearch("resume", finished_copy.folder, *LEFT[left])
    assert "Nothing to do" not in called.err
    assert "Loading TensorFlow…" in called.err


CHANGES = [
    ("seeds = 8", "seeds = 9"),
    ("max_kl_slope = 0.2", "max_kl_slope = 0.3"),
    ("kl_weight = 0.1", "kl_weight = 0.2"),
]


@pytest.mark.slow("confirms anew")
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_definition_that_asks_for_another_proof_is_answered_by_one(
    old: str, new: str, finished_copy: "Finished", klsearch: Klsearch, edit: Callable[[Path, str, str], None]
) -> None:
    edit(finished_copy.definition_file, old, new)
    again = ["run", finished_copy.definition_file, "--out", finished_copy.folder]
    first = klsearch(*again)
    assert (first.code, "Nothing to do" in first.err) == (0, False)
    second = klsearch(*again)
    assert (second.code, "Nothing to do" in second.err) == (0, True)
    assert second.out == first.out


def test_other_rows_are_refused_as_ever(finished_copy: "Finished", klsearch: Klsearch) -> None:
    rows = finished_copy.definition_file.parent / "rows.csv"
    lines = rows.read_text().splitlines()
    lines[1] = lines[2]
    rows.write_text("\n".join(lines) + "\n")
    called = klsearch("run", finished_copy.definition_file, "--out", finished_copy.folder, "--json")
    assert called.code == 2
    assert "the rows are not those that the study was trained on" in json.loads(called.out)["error"]["message"]
