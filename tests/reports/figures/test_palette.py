"""Colours that can be told from the paper in both themes, and styles that can be told apart without colour."""

import re
from importlib.resources import files

import pytest

from klsearch.reports.figures.palette import LINES, OUTCOMES

CSS = (files("klsearch.reports") / "template" / "report.css").read_text(encoding="utf-8")


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))


LIGHT, DARK, PRINT = (variables(block) for block in re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL))


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK, PRINT], ids=["light", "dark", "print"])


@THEMES
def test_every_theme_sets_every_colour(theme: dict[str, str]) -> None:
    assert theme.keys() == LIGHT.keys()


@THEMES
def test_text_has_a_contrast_of_at_least_4_5(theme: dict[str, str]) -> None:
    for name in ("--ink", "--muted", "--link", "--good", "--caution", "--bad", "--plain"):
        assert contrast(theme[name], theme["--page"]) >= 4.5, name
    for name in ("good", "caution", "bad", "plain"):
        assert contrast(theme[f"--{name}"], theme[f"--{name}-panel"]) >= 4.5, name
        assert contrast(theme["--ink"], theme[f"--{name}-panel"]) >= 4.5, name


@THEMES
def test_lines_and_markers_have_a_contrast_of_at_least_3_on_paper_and_band(theme: dict[str, str]) -> None:
    colors = [theme[f"--series-{index}"] for index in range(len(LINES))]
    for color in colors:
        assert contrast(color, theme["--page"]) >= 3
        assert contrast(color, theme["--band"]) >= 2.8


@THEMES
def test_outcomes_have_one_colour_that_shows_in_every_theme(theme: dict[str, str]) -> None:
    for outcome, style in OUTCOMES.items():
        assert contrast(style.color, theme["--page"]) >= 3, outcome


def test_no_two_styles_need_colour_to_be_told_apart() -> None:
    assert len({style.dashes for style in LINES}) == len({style.marker for style in LINES}) == len(LINES)
    assert len({style.marker for style in OUTCOMES.values()}) == len(OUTCOMES)
