"""The whole file: one for every kind of study, self-contained, the same bytes for the same records.

What a report says is held to the word: a change of the text shows as a change of the files in `snapshots`. With
KLSEARCH_UPDATE_SNAPSHOTS=1 they are written anew, for their difference to be read.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klsearch.reports.page import Block, Cell, Exhibit, Facts, Fold, Gallery, Page, Prose, Steps, Table, TrialTable
from klsearch.reports.report import _escape_with_code, render_head, render_report, report_page, write_report
from klsearch.reports.sections.banner import banner
from klsearch.studies.ladder import LADDER, rung_settings
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.evaluation.samples import ImageSamples

Make = Callable[..., StudyRecord]

SNAPSHOTS = Path(__file__).with_name("snapshots")
ROWS = 3  # of each table, in a snapshot
SECTIONS = [
    *("settings", "next", "kl-weight", "evidence", "dynamics", "pictures", "importance", "recipe", "failures"),
    *("health", "trials", "provenance", "glossary"),
]
VOID = {"meta", "input", "path", "use", "image", "circle", "br"}


class Outline(HTMLParser):
    """The tags, ids, links and texts of a page; closes what it opens or fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.references: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in VOID:
            self._open.append(tag)
        self.note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.note(attrs)

    def note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value is not None:
                self.ids[value] += 1
            if name in ("href", "src", "aria-labelledby") and value is not None:
                self.references.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_kind_of_study_has_every_section_and_a_verdict(html: str) -> None:
    assert re.findall(r'<section id="([^"]*)"', html) == SECTIONS
    assert Outline(html).tags["h1"] == 1


def test_ids_are_unique_and_every_inner_link_has_its_target(html: str) -> None:
    check_links(html)


def check_links(html: str) -> None:
    outline = Outline(html)
    assert [name for name, n in outline.ids.items() if n > 1] == []
    inner = {reference.removeprefix("#") for reference in outline.references if reference.startswith("#")}
    used = set(re.findall(r"url\(#([^)]*)\)", html))
    assert inner | used <= set(outline.ids)


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    outside = [link for link in Outline(html).references if not re.match(r"#|data:|[\w-]+$", link)]
    assert outside == []
    assert re.search(r"url\((?!#)", html) is None
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; ")


def test_the_policy_allows_exactly_the_page_s_own_script(html_of: Callable[[str], str]) -> None:
    html = html_of("finished")
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert len(script.encode()) < 5000


def test_no_number_that_is_meant_to_be_read_has_more_than_six_digits(any_study: StudyRecord, html: str) -> None:
    exact = r"<pre.*?</pre>|<style.*?</style>|<script.*?</script>"
    texts = " ".join(Outline(re.sub(exact, "", html, flags=re.DOTALL)).texts)
    decimals = re.findall(r"\d+\.\d+", texts)
    assert [number for number in decimals if len(number.replace(".", "").lstrip("0")) > 6] == []


def test_hostile_texts_stay_texts(html_of: Callable[[str], str]) -> None:
    html = html_of("hostile")
    outline = Outline(html)
    assert outline.tags["script"] == 1
    assert "alert(1)</script>" not in html
    texts = "".join(outline.texts)
    assert texts.count("<script>alert(1)</script>") > 10
    assert "{{ 7*7 }}" in texts


def test_what_turns_the_writing_or_acts_on_a_terminal_is_shown_as_such(make: Make) -> None:
    hidden = "\u202egpj.exe\u2066 \x1b[31m"
    study = make(3, baselines={hidden: {"kl_weight": 0.5}})
    html = render_report(replace(study, name=hidden, definition_toml=hidden, provenance={hidden: hidden}))
    assert not set("\u202e\u2066\x1b") & set(html)
    assert html.count(r"\u202egpj.exe\u2066 \u001b[31m") > 5
    assert not set("\u202e\u2066\x1b") & set(render_head(replace(study, name=hidden)))


def test_a_study_under_way_says_that_it_is_partial_and_how_to_go_on(html_of: Callable[[str], str]) -> None:
    html = html_of("running")
    assert "Partial: 34 of 60 trials have finished. 4 under way." in html
    assert "klsearch resume runs/digits" in html
    assert "Trials under way" in html


def test_a_finished_and_confirmed_study_is_not_partial(html_of: Callable[[str], str]) -> None:
    assert "Partial" not in html_of("finished")


DIGEST = """
import hashlib, runpy, sys
from klsearch import render_report
study = runpy.run_path(sys.argv[1])["cached_study"]("exploding baseline")
print(hashlib.sha256(render_report(study).encode()).hexdigest())
"""


@pytest.mark.slow("draws reports in processes of their own")
def test_the_same_records_give_the_same_bytes_in_any_process_and_time_zone() -> None:
    conftest = Path(__file__).with_name("conftest.py")
    digests = set()
    for zone, seed in (("UTC", "1"), ("Asia/Tokyo", "2")):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, str(conftest)],
            env=os.environ | {"TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_writing_gives_the_path_and_the_same_bytes_every_time(
    study: StudyRecord, html_of: Callable[[str], str], tmp_path: Path
) -> None:
    path = write_report(study, tmp_path / "runs" / "report.html")
    assert path.read_text(encoding="utf-8") == html_of("finished")


@pytest.mark.slow("draws a report of six hundred trials")
def test_a_ladder_s_points_lead_to_rows_that_are_there(make: Make) -> None:
    """The ladder's points are links in three figures; some of its rows are not among the 500 that are shown."""
    few = make(30, space={"kl_weight": {"low": 1e-4, "high": 1.0, "log": True}})
    rungs = rung_settings(few.definition, 10)
    trials = [replace(few.trials[n % 30], number=n, score=0.1 if n >= 10 else 5.0) for n in range(600)]
    trials[:10] = [
        replace(one, hyperparameters=settings, origin=LADDER) for one, settings in zip(trials, rungs, strict=False)
    ]
    html = render_report(replace(few, trials=tuple(trials), ladder=10))
    links = Counter(re.findall(r'href="#(trials|trial-\d)"><title>trial \d,', html))
    assert links["trials"] >= 3 and links.total() == 3 * 10
    check_links(html)


@pytest.mark.slow("draws a report of a hundred trials")
def test_a_hundred_trials_stay_below_a_megabyte(make: Make) -> None:
    assert len(render_report(make(100)).encode()) < 1_000_000


@pytest.mark.slow("draws a report of a hundred trials")
def test_a_hundred_trials_with_the_largest_pictures_stay_below_a_megabyte_and_a_half(make: Make) -> None:
    """Noise in colour, which cannot be compressed, of as many models and values as are kept."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, size=(*shape, 32, 32, 3), dtype=np.uint8)

    samples = ImageSamples(
        split="test",
        names=("trial 0", "before", "after", "mine", "other"),
        originals=noise(8),
        reconstructions=noise(5, 8),
        unexplained=np.ones((5, 8)),
        prior_samples=noise(5, 8),
        traversal=noise(5, 7),
        latents=np.arange(5),
        latent_kl=np.ones(5),
        values=np.linspace(-3, 3, 7),
    )
    assert len(render_report(replace(make(100), samples=samples)).encode()) < 1_500_000


@pytest.mark.slow("draws ten thousand trials")
def test_ten_thousand_trials_stay_below_three_megabytes(ten_thousand: StudyRecord) -> None:
    html = render_report(ten_thousand)
    assert len(html.encode()) < 3_000_000
    assert html.count("<tr data-outcome=") == 500
    assert "The other 9,500 are in the files." in html
    check_links(html)


def test_importing_the_room_loads_no_pandas_and_drawing_loads_no_pyplot() -> None:
    code = (
        "import sys, klsearch.reports; assert 'pandas' not in sys.modules; import klsearch.reports.report; "
        "print([name for name in ('matplotlib.pyplot', 'tensorflow', 'keras', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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


def test_no_line_breaks_before_a_percent_sign_and_marks_stay_within_each_other() -> None:
    assert _escape_with_code("`5 %`, (95 % 1 to 2 %)") == (
        '<code><span class="unbroken">5 %</span></code>, <span class="unbroken">(95 %</span> 1 to '
        '<span class="unbroken">2 %</span>)'
    )


def test_the_head_for_notebooks_says_what_the_head_of_the_report_says(study: StudyRecord) -> None:
    text = unescape(re.sub(r"</?code>", "`", render_head(study)))
    text = re.sub(r"<[^>]+>", " ", re.sub(r'<span class="unbroken">([^<]*)</span>', r"\1", text))
    head = banner(study, summarize(study))
    for said in (study.name, head.word, head.sentence, *(tile.detail for tile in head.tiles)):
        assert said in text


def test_the_head_for_notebooks_changes_nothing_around_it_and_loads_nothing(study: StudyRecord) -> None:
    rendered = render_head(study)
    assert not re.search(r"<(script|style|link|img|iframe|html|body)|url\(|https?:", rendered)


def test_names_in_the_head_for_notebooks_are_text(study: StudyRecord) -> None:
    assert "<b>x</b>" not in render_head(replace(study, name="<b>x</b>"))


def test_a_record_shows_it_in_a_notebook_where_something_renders_it(study: StudyRecord) -> None:
    assert study._repr_html_() is None
    assert replace(study, head=render_head)._repr_html_() == render_head(study)
