"""Seeds that diverged, wherever medians and differences over seeds are told: left out, and counted."""

from collections.abc import Callable

import pytest

from klsearch.reports.page import Gallery, Table
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.sections.banner import banner
from klsearch.reports.sections.evidence import evidence_section, gates_table
from klsearch.reports.sections.models.dynamics import endings_table
from klsearch.reports.sections.models.usefulness import probe_table
from klsearch.search.commands.text import best_text
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize

Diverged = Callable[[StudyRecord, str, int], StudyRecord]


@pytest.fixture
def two_lost(study: StudyRecord, diverged: Diverged) -> StudyRecord:
    """A study whose winner diverged on two of eight seeds, and whose baseline *before* on three."""
    return diverged(diverged(study, "winner", 2), "before", 3)


def test_labels_say_on_how_many_seeds_a_candidate_diverged(two_lost: StudyRecord) -> None:
    labels = [f"winner (trial {two_lost.winner}, 2 of 8 seeds diverged)", "before (3 of 8 seeds diverged)", "after"]
    assert [one.label for one in compared_candidates(two_lost)] == labels
    table = endings_table(two_lost)
    assert table.columns == ("measure", *labels)
    assert table.caption.endswith("median over the seeds that did not diverge")


def test_the_tiles_say_over_how_many_seeds_a_median_is(two_lost: StudyRecord) -> None:
    tiles = {tile.label: tile.detail for tile in banner(two_lost, summarize(two_lost)).tiles}
    assert "median of 6 of 8 seeds, the others diverged" in tiles["Final KL"]
    assert "before (3 of 8 seeds diverged) " in tiles["Unexplained"]
    assert tiles["Active latents"].endswith("fewest of the seeds that did not diverge")


def test_the_evidence_counts_the_seeds_that_it_leaves_out(two_lost: StudyRecord) -> None:
    rows = {row[0]: row for row in gates_table(two_lost, compared_candidates(two_lost)[0]).rows}
    assert str(rows["band"][2]).endswith("; 2 of 8 diverged")
    blocks = evidence_section(two_lost, summarize(two_lost)).blocks
    table = next(block for block in blocks if isinstance(block, Table) and block.caption.startswith("Winner less"))
    seeds, reading = next(row for row in table.rows if row[0] == "before")[-2:]
    assert seeds == "5 (left out, having diverged: winner on 2 seeds and before on 3 seeds)"
    assert "where none diverged" in str(reading)
    (gallery,) = (block for block in blocks if isinstance(block, Gallery))
    assert all("over seeds that did not diverge" in one.alternative for one in gallery.exhibits)


def test_the_probe_counts_the_seeds_that_it_leaves_out(two_lost: StudyRecord) -> None:
    assert [row[0] for row in probe_table(two_lost, "accuracy").rows] == [
        "winner (2 of 8 seeds diverged)",
        "before (3 of 8 seeds diverged)",
        "after",
    ]


def test_the_command_line_counts_the_seeds_that_its_medians_leave_out(two_lost: StudyRecord) -> None:
    starts = [line.split("  ")[0] for line in best_text(two_lost).splitlines()]
    told = ["winner (2 of 8 diverged, left out)", "before (3 of 8 diverged, left out)", "after"]
    assert [start for start in starts if start.split(" ")[0] in ("winner", "before", "after")] == told
