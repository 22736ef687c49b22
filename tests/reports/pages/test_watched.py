"""The page of a training that was watched."""

from pathlib import Path

import numpy as np
import pytest

from klsearch.reports.page import Gallery, Steps, Table
from klsearch.reports.pages.watched import watched_page
from klsearch.reports.report import write_watched
from klsearch.vae.diagnostics.gates import GATE_NAMES
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
    assert "kl_weight = 0.1" in steps.items[-1].code
    curves, latents, _ = sections["dynamics"]
    assert isinstance(curves, Gallery)
    assert isinstance(latents, Gallery)
    assert curves.exhibits[0].identity == "curve-validation-kl"
    table = sections["gates"][0]
    assert isinstance(table, Table)
    assert tuple(row[0] for row in table.rows) == GATE_NAMES


@pytest.mark.parametrize("seen", [watched(broken=True, weight=np.nan), watched(epochs=1, logged={"loss": (1.0,)})])
def test_a_training_that_broke_or_has_just_begun_has_a_page_too(seen: object, tmp_path: Path) -> None:
    page = write_watched(seen, tmp_path / "page.html", name="<vae>").read_text()  # type: ignore[arg-type]
    assert "&lt;vae&gt;" in page
    assert "nan" not in page.lower().split("<style>")[0]
