"""The parts of a page: the template has markup for each, and style and picture for every tone."""

import re
from dataclasses import FrozenInstanceError, fields
from importlib.resources import files
from typing import get_args

import pytest

from klsearch.reports.page import (
    Banner,
    Block,
    Exhibit,
    Fold,
    LegendEntry,
    Mark,
    Page,
    Section,
    Step,
    Table,
    Tile,
    Tone,
)

TEMPLATE = files("klsearch.reports") / "template"
MARKUP = "".join((TEMPLATE / name).read_text(encoding="utf-8") for name in ("blocks.html.j2", "report.html.j2"))
BLOCKS: tuple[type, ...] = get_args(Block)


def kind_word(block: type) -> str:
    """The word by which the template knows a kind of block."""
    return str(next(field.default for field in fields(block) if field.name == "kind"))


def test_the_template_has_markup_for_every_kind_of_block() -> None:
    kinds = [kind_word(block) for block in BLOCKS]
    assert len(set(kinds)) == len(kinds)
    # What is none of the others is a fold.
    assert sorted([*re.findall(r'block\.kind == "(\w+)"', MARKUP), kind_word(Fold)]) == sorted(kinds)


PARTS = (*BLOCKS, Banner, Exhibit, LegendEntry, Mark, Page, Section, Step, Tile)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_template_shows_everything_that_a_part_holds(part: type) -> None:
    shown = {*re.findall(r"\.(\w+)", MARKUP), "alternative"}  # which stands in the drawing
    assert {field.name for field in fields(part)} - shown == set()


@pytest.mark.parametrize("tone", get_args(Tone))
def test_every_tone_has_its_colours_and_its_shape(tone: str) -> None:
    css = (TEMPLATE / "report.css").read_text(encoding="utf-8")
    assert f"--{tone}:" in css and f"--{tone}-panel:" in css
    assert f'"{tone}": \'<' in MARKUP


def test_a_part_cannot_be_changed_and_does_not_print_its_drawing() -> None:
    table = Table(caption="c", columns=("a",), rows=(("1",),))
    exhibit = Exhibit(identity="i", title="t", caption="", alternative="", svg="<svg>", data=table)
    assert "<svg>" not in repr(exhibit)
    with pytest.raises(FrozenInstanceError):
        exhibit.title = "other"  # type: ignore[misc]
