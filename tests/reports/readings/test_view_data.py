"""What a report says of every kind of study, to the word: a change of the text shows as a change of these files.

With KLSEARCH_UPDATE_SNAPSHOTS=1 the files are written anew, for their difference to be read.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klsearch.reports.page import Block, Cell, Exhibit, Facts, Fold, Gallery, Page, Prose, Steps, Table, TrialTable
from klsearch.reports.report import report_page
from klsearch.studies.record import StudyRecord

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
ROWS = 3


def view(page: Page) -> dict[str, Any]:
    """All that a page says, without drawings, long tables and the glossary, which is the same for all."""
    banner = page.banner
    return {
        "study": page.study,
        "as of": page.as_of,
        "verdict": [banner.word, banner.tone, banner.sentence],
        "tiles": [f"{tile.label}: {tile.value} ({tile.detail})" for tile in banner.tiles],
        "partial": [banner.partial, banner.resume_command],
        **{section.title: [told(block) for block in section.blocks] for section in page.sections[:-1]},
    }


def told(block: Block) -> Any:
    match block:
        case Table():
            return table_lines(block)
        case Gallery():
            return [*(entry.label for entry in block.legend), *(exhibit(one) for one in block.exhibits)]
        case Facts():
            return [f"{name}: {value}" for name, value in block.pairs]
        case Steps():
            return [[step.action, step.reason, step.code] for step in block.items]
        case Fold():
            return {block.summary: [told(inner) for inner in block.blocks]}
        case TrialTable():
            files = [name for name, _ in block.files]
            return [block.shown, dict(sorted(Counter(block.outcomes).items())), files, table_lines(block.table)]
        case Prose():
            return f"{'' if block.tone == 'plain' else f'[{block.tone}] '}{block.text}"
    return getattr(block, "text", None) or block.kind


def exhibit(one: Exhibit) -> dict[str, Any]:
    assert one.svg.startswith("<svg ")
    return {f"{one.identity}: {one.title}": [one.caption, one.alternative, table_lines(one.data)]}


def table_lines(one: Table) -> list[str]:
    lines = [" | ".join(map(cell, row)) for row in (one.columns, *one.rows[:ROWS])]
    return [one.caption, *lines, *([f"{len(one.rows)} rows"] if len(one.rows) > ROWS else [])]


def cell(value: Cell) -> str:
    return value if isinstance(value, str) else f"{value.text} [{value.tone}]"


def agrees(name: str, study: StudyRecord) -> None:
    path = SNAPSHOTS / f"{name.replace(' ', '-')}.json"
    text = json.dumps(view(report_page(study)), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("KLSEARCH_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *("no trials", "one trial", "two trials", "all failed", "all pruned", "all diverged", "one hyperparameter"),
        *("not confirmed", "running", "hostile", "finished"),
    ],
)
def test_a_report_says_what_it_said(name: str, study_of_kind: Callable[[str], StudyRecord]) -> None:
    agrees(name, study_of_kind(name))


@pytest.mark.slow("draws ten thousand trials")
def test_a_report_of_ten_thousand_trials_says_what_it_said(ten_thousand: StudyRecord) -> None:
    agrees("ten thousand trials", ten_thousand)
