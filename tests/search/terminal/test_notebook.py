"""Progress in the cell of a notebook."""

from collections.abc import Mapping

import pytest

from klsearch.search.terminal.live import Terminal
from klsearch.search.terminal.notebook import Notebook, fitting_progress
from tests.search.terminal.conftest import VALUES, ended_training


@pytest.fixture
def cells() -> list[Mapping[str, str]]:
    """All that a cell showed, one after the other in the same place."""
    return []


@pytest.fixture
def notebook(cells: list[Mapping[str, str]]) -> Notebook:
    return Notebook(cells.append)


def test_lines_stay_and_a_bar_with_the_time_left_stands_below_them(
    notebook: Notebook, cells: list[Mapping[str, str]]
) -> None:
    notebook.say("Loading TensorFlow…")
    notebook.begin("trials", done=0, total=4)
    notebook.count(ended_training("trial 0", 0.5))
    notebook.watch({1: VALUES}, 203.0)
    notebook.say("note: <b>no markup</b> [red]at all[/red]")
    lines = cells[-1]["text/plain"].splitlines()
    assert lines[:2] == ["Loading TensorFlow…", "note: <b>no markup</b> [red]at all[/red]"]
    assert lines[2].startswith("trials 1/4  ━━━━━")
    assert lines[2].endswith("about 3 min left")
    assert lines[3].rstrip() == "  best trial 0: score 0.5, KL 2"
    assert "&lt;b&gt;no markup&lt;/b&gt; [red]at all[/red]" in cells[-1]["text/html"]
    assert cells[-1]["text/html"].startswith("<pre")


def test_a_phase_that_has_ended_is_a_line_and_nothing_is_left_of_its_bar(
    notebook: Notebook, cells: list[Mapping[str, str]]
) -> None:
    with notebook:
        notebook.begin("trials", done=1, total=2, best=ended_training("trial 0", 0.5))
        notebook.count(ended_training("trial 1", 0.25, 1.5))
    assert cells[-1]["text/plain"] == "trials 2/2 · best trial 1: score 0.25, KL 1.5\n"


def test_a_bar_that_is_left_in_the_middle_goes(notebook: Notebook, cells: list[Mapping[str, str]]) -> None:
    with pytest.raises(KeyboardInterrupt), notebook:
        notebook.begin("trials", done=0, total=2)
        raise KeyboardInterrupt
    assert cells[-1]["text/plain"] == ""


def test_it_is_drawn_no_oftener_than_one_can_see(notebook: Notebook, cells: list[Mapping[str, str]]) -> None:
    notebook.begin("trials", done=0, total=2)
    before = len(cells)
    for _ in range(100):
        notebook.watch({1: VALUES}, 3.0)
    assert len(cells) <= before + 1


def test_outside_a_notebook_progress_is_a_terminal_s() -> None:
    with fitting_progress() as progress:
        assert isinstance(progress, Terminal)
