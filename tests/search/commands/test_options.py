"""Options that commands share, what their values mean, and what the shell completes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click import Argument, BadParameter, Command, Context
from click.shell_completion import CompletionItem

from klsearch.search.commands.options import Duration, Slots, runs_beginning_with, studies_beginning_with

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1h2m3s", 3723),
        ("0", 0),
    ],
)
def test_a_time_is_written_with_its_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 m", "-5s", "5w", "1h 30m", "m", "1e3", "10mm"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadParameter, match="write it as 90s, 10m or 1h30m"):
        Duration().convert(text, None, None)


def test_seconds_that_are_a_number_already_stay_as_they_are() -> None:
    assert Duration().convert(90.5, None, None) == 90.5


@pytest.mark.parametrize(("text", "slots"), [("auto", None), (None, None), ("1", 1), (8, 8), ("1024", 1024)])
def test_slots_are_a_number_or_left_to_a_measurement(text: object, slots: int | None) -> None:
    assert Slots().convert(text, None, None) == slots


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "0 is not between 1 and 1024"),
        ("-3", "-3 is not between 1 and 1024"),
        ("1025", "1025 is not between 1 and 1024"),
        ("many", "'many' is neither 'auto', 'measure' nor a number"),
        ("2.5", "'2.5' is neither 'auto', 'measure' nor a number"),
        ("", "'' is neither 'auto', 'measure' nor a number"),
        ("Auto", "'Auto' is neither 'auto', 'measure' nor a number"),
    ],
)
def test_slots_that_no_population_can_have_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        Slots().convert(text, None, None)


def completed(complete: Callable[..., list[CompletionItem]], text: str) -> list[tuple[str, str]]:
    command = Command("any")
    items = complete(Context(command), Argument(["any"]), text)
    return [(item.type, item.value) for item in items]


@pytest.mark.parametrize(
    ("text", "studies"), [("", ["digits", "fashion-mnist"]), ("fa", ["fashion-mnist"]), ("my", [])]
)
def test_a_study_is_completed_to_a_file_or_to_a_built_in_one(text: str, studies: list[str]) -> None:
    assert completed(studies_beginning_with, text) == [("file", text), *(("plain", name) for name in studies)]


def test_a_run_is_completed_to_a_folder_or_to_a_run_below_runs_in_the_order_of_their_names(work: Path) -> None:
    for name in ("zeta", "alpha", "alps"):
        (work / "runs" / name).mkdir(parents=True)
        (work / "runs" / name / "run.json").touch()
    (work / "runs" / "alone").mkdir()  # it holds no run
    assert completed(runs_beginning_with, "runs/al") == [
        ("dir", "runs/al"),
        ("plain", "runs/alpha"),
        ("plain", "runs/alps"),
    ]
    assert [value for _, value in completed(runs_beginning_with, "")] == ["", "runs/alpha", "runs/alps", "runs/zeta"]


def test_a_run_whose_name_a_shell_could_take_for_a_command_is_left_to_the_shell_which_quotes_it(work: Path) -> None:
    for name in ("$(touch PWNED)", "`id`", "a;id", "a b", "*", "~", "x'y", "c,d", "ä-1.b"):
        (work / "runs" / name).mkdir(parents=True)
        (work / "runs" / name / "run.json").touch()
    assert completed(runs_beginning_with, "runs/") == [("dir", "runs/"), ("plain", "runs/ä-1.b")]


def test_where_there_are_no_runs_only_folders_are_completed(work: Path) -> None:
    assert completed(runs_beginning_with, "ru") == [("dir", "ru")]
