"""Drawings that belong to the page: its text, its colours, the same bytes."""

import re
from functools import partial

import numpy as np
import pytest
from matplotlib.axes import Axes

from klsearch.reports.figures.paint import paint_slice
from klsearch.reports.figures.palette import INK, LINES
from klsearch.reports.figures.svg import draw, point
from klsearch.reports.readings.trials import Scatter, TrialOutcome
from klsearch.studies.definitions.space import Range


def paint(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=LINES[0].color, label="a")
    axes.set_xlabel("cost in $ and 漢字")
    axes.text(0, 0, "<b>bold</b>", color=INK)


def test_text_stays_text_and_is_searchable() -> None:
    svg = draw("one", "a line", paint)
    assert ">cost in $ and 漢字</text>" in svg
    assert ">&lt;b&gt;bold&lt;/b&gt;</text>" in svg


def test_colours_and_fonts_are_the_page_s() -> None:
    svg = draw("one", "a line", paint)
    assert "var(--series-0)" in svg
    assert "var(--ink)" in svg
    assert re.search(r"font-family|#0[15]0\d0\d|<style|<metadata", svg) is None


def test_the_alternative_text_is_escaped_and_the_size_left_to_the_page() -> None:
    svg = draw("one", '"quoted" <b>', paint)
    assert svg.startswith('<svg viewBox="0 0 400 262" role="img" aria-label="&quot;quoted&quot; &lt;b&gt;">')


def test_the_same_drawing_gives_the_same_bytes_and_shares_no_id_with_another() -> None:
    one, again, other = draw("one", "", paint), draw("one", "", paint), draw("other", "", paint)
    assert one == again
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])


def scatter(n: int) -> Scatter:
    numbers = np.random.default_rng(0).uniform(0.1, 1, (2, n))
    outcomes = (TrialOutcome.PASSED, TrialOutcome.MISSED) * (n // 2)
    targets = tuple(f"trial-{number}" for number in range(n))
    return Scatter(x=numbers[0], y=numbers[1], outcomes=outcomes, trials=tuple(range(n)), targets=targets)


def test_every_point_is_a_link_that_names_its_trial_unless_they_are_one_picture() -> None:
    space = Range(low=0.1, high=1.0)
    svg = draw("one", "points", partial(paint_slice, name="l2", points=scatter(100), space=space, winner=None))
    numbers = re.findall(r'<a href="#trial-(\d+)"><title>trial (\d+), [^<]*: l2 [\d.]+, score [\d.]+</title><use ', svg)
    assert sorted((int(link), int(title)) for link, title in numbers) == [(n, n) for n in range(100)]
    assert svg.startswith('<svg viewBox="0 0 400 262" role="group" aria-label="points">')
    assert svg.count('<g aria-hidden="true">') == 2, "the axes"
    rasterized = draw("one", "", partial(paint_slice, name="l2", points=scatter(5000), space=space, winner=None))
    assert "<a " not in rasterized and 'role="img"' in rasterized


def test_words_of_a_point_are_escaped_and_one_point_alone_is_a_link_too() -> None:
    def paint_one(axes: Axes) -> None:
        axes.scatter([1], [1], urls=[point("a", "x < \"y\" & 'z'")] * 2)

    assert '<a href="#a"><title>x &lt; &quot;y&quot; &amp; &#x27;z&#x27;</title>' in draw("one", "", paint_one)


@pytest.mark.parametrize(("n", "pictures"), [(100, 0), (5000, 1)])
def test_thousands_of_points_become_one_small_picture(n: int, pictures: int) -> None:
    space = Range(low=0.1, high=1.0)
    svg = draw("one", "", partial(paint_slice, name="x", points=scatter(n), space=space, winner=0.5))
    assert svg.count("data:image/png;base64,") == pictures
    assert svg.count("<use") > (100 if pictures == 0 else 10)
    assert len(svg) < 90_000
