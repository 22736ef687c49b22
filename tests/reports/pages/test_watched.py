"""The page of a training that was watched."""

import re
from pathlib import Path

import numpy as np
import pytest

from klsearch.reports.page import Code, Gallery, Prose, Steps, Table
from klsearch.reports.pages.watched import watched_page
from klsearch.reports.report import write_watched
from klsearch.vae.diagnostics.gates import GATE_NAMES
from klsearch.vae.diagnostics.watched import Watched
from tests.vae.diagnostics.test_watched import watched


def test_its_head_says_the_verdict_its_reason_and_what_to_do_first() -> None:
    banner = watched_page(watched(np.linspace(1, 9, 40)), "vae").banner
    assert (banner.word, banner.tone) == ("Runaway", "bad")
    assert "above the band of 0 to 5" in banner.sentence
    assert "First: search the settings" in banner.sentence
    assert {tile.label: tile.value for tile in banner.tiles} == {
        "Final KL": "8.59",
        "Unexplained": "0.2",
        "Active latents": "4 of 4",
        "KL weight": "0.1",
    }


def test_its_sections_have_the_curves_the_gates_and_the_lines_of_a_search() -> None:
    page = watched_page(watched(), "vae")
    sections = {section.identity: section.blocks for section in page.sections}
    (steps,) = sections["next"]
    assert isinstance(steps, Steps)
    assert steps.items[-1].action == "Search the settings"
    _, code = sections["search"]
    assert isinstance(code, Code)
    assert "kl_weight = 0.1" in code.text
    assert list(sections)[-1] == "search"
    curves, latents, _ = sections["dynamics"]
    assert isinstance(curves, Gallery)
    assert isinstance(latents, Gallery)
    assert curves.exhibits[0].identity == "curve-validation-kl"
    table = sections["gates"][0]
    assert isinstance(table, Table)
    assert tuple(row[0] for row in table.rows) == GATE_NAMES


@pytest.mark.parametrize("seen", [watched(broken=True, weight=np.nan), watched(epochs=1, logged={"loss": (1.0,)})])
def test_a_training_that_broke_or_has_just_begun_has_a_page_too(seen: Watched, tmp_path: Path) -> None:
    html = write_watched(seen, tmp_path / "page.html", name="<vae>").read_text()
    assert "&lt;vae&gt;" in html
    page = watched_page(seen, "vae")
    cells = [tile.value for tile in page.banner.tiles]
    for section in page.sections:
        cells += [
            str(cell) for block in section.blocks if isinstance(block, Table) for row in block.rows for cell in row
        ]
    assert not [cell for cell in cells if re.search(r"\b(nan|inf)\b", cell)]


def test_what_makes_the_numbers_doubtful_stands_on_the_page() -> None:
    blocks = watched_page(watched(notes=("'z_log_sigma' is taken for a log-variance",)), "vae").sections[-2].blocks
    told = next(block.text for block in blocks if isinstance(block, Prose))
    assert told == "'z_log_sigma' is taken for a log-variance."
