"""The report as people meet it: a file opened in Chromium, with the network out of reach."""

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Download,
    Page,
    Playwright,
    Route,
    ViewportSize,
    expect,
)

from klsearch.reports.report import write_audit, write_watched
from klsearch.reports.tables import TEXT_COLUMNS, confirmation_frame, trials_frame
from klsearch.studies.record import StudyRecord
from tests.reports.pages.test_audited import FACTS, FINDINGS
from tests.vae.diagnostics.test_watched import watched

pytestmark = pytest.mark.browser

Theme = Literal["light", "dark"]
PHONE, DESKTOP = 390, 1240
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
DEFINITION = f"[study]\nname = '{'long' * 60}'\n"
OTHER_PAGES: dict[str, Callable[[Path], Path]] = {
    "watched": lambda path: write_watched(watched(np.linspace(1, 9, 40)), path, name="vae"),
    "audit": lambda path: write_audit(FINDINGS, FACTS, path, definition=DEFINITION, name="my_vae:make"),
}
CARELESS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="session")
def chromium_browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    with playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser:
        yield browser


class Opened:
    """A report in a browser: what it asked of the network and what it complained of."""

    def __init__(self, context: BrowserContext, path: Path) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.route("**/*", self._answer)
        self.page = context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri(), timeout=120_000)  # milliseconds, for busy machines

    def _answer(self, route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


Open = Callable[..., Opened]


@pytest.fixture
def open_report(chromium_browser: Browser, html_of: Callable[[str], str], tmp_path: Path) -> Iterator[Open]:
    """Opens the report of a study of a kind; closed at the end, when it must have asked and complained of nothing."""
    opened: list[Opened] = []

    def open_one(kind: str = "finished", *, width: int = DESKTOP, theme: Theme = "light", **options: Any) -> Opened:
        path = tmp_path / f"{kind}.html"
        if kind in OTHER_PAGES:
            OTHER_PAGES[kind](path)
        else:
            path.write_text(html_of(kind), encoding="utf-8")
        size = ViewportSize(width=width, height=900)
        context = chromium_browser.new_context(viewport=size, color_scheme=theme, **options)
        opened.append(Opened(context, path))
        return opened[-1]

    yield open_one
    for one in opened:
        assert one.requests == []
        assert one.complaints == []
        one.page.context.close()


@pytest.mark.parametrize(
    ("kind", "width", "theme"),
    [
        ("finished", PHONE, "light"),
        ("finished", PHONE, "dark"),
        ("finished", DESKTOP, "light"),
        ("finished", DESKTOP, "dark"),
        ("hostile", PHONE, "dark"),
        ("hostile", DESKTOP, "light"),
        ("one hyperparameter", PHONE, "light"),
        ("comparison", PHONE, "dark"),
        ("comparison", DESKTOP, "light"),
        ("watched", PHONE, "dark"),
        ("watched", DESKTOP, "light"),
        ("audit", PHONE, "light"),
        ("audit", DESKTOP, "dark"),
    ],
)
def test_a_page_fits_the_screen_and_loads_nothing(open_report: Open, kind: str, width: int, theme: Theme) -> None:
    page = open_report(kind, width=width, theme=theme).page
    assert page.evaluate(CARELESS) is False
    assert page.locator("main section").count() == {"comparison": 5, "watched": 5, "audit": 4}.get(kind, 13)


def test_the_themes_really_differ(open_report: Open) -> None:
    paper = "() => getComputedStyle(document.body).backgroundColor"
    ink = "() => getComputedStyle(document.querySelector('figure svg text')).fill"
    light, dark = (open_report(theme=theme).page for theme in ("light", "dark"))
    assert light.evaluate(paper) != dark.evaluate(paper)
    assert light.evaluate(ink) != dark.evaluate(ink)


@pytest.mark.parametrize(
    ("kind", "width", "theme"),
    [
        ("exploding baseline", PHONE, "light"),
        ("exploding baseline", DESKTOP, "dark"),
        ("hostile", PHONE, "dark"),
        ("one hyperparameter", DESKTOP, "dark"),
        ("comparison", PHONE, "light"),
        ("watched", PHONE, "light"),
        ("watched", DESKTOP, "dark"),
        ("audit", PHONE, "dark"),
        ("audit", DESKTOP, "light"),
    ],
)
def test_axe_finds_nothing_to_object_to(open_report: Open, kind: str, width: int, theme: Theme) -> None:
    # The policy of the page lets nobody in; axe has to get past it.
    page = open_report(kind, width=width, theme=theme, bypass_csp=True).page
    page.evaluate("() => document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    page.add_script_tag(content=(files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    # The words of a figure's axes are hidden from assistive technology, its points are not.
    found = page.evaluate("() => axe.run({ exclude: ['figure > svg text'] }, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 20
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found["violations"]] == []


def test_without_javascript_everything_can_be_read_and_downloaded(open_report: Open, study: StudyRecord) -> None:
    page = open_report(java_script_enabled=False).page
    assert page.locator("h1").inner_text() == "Stable"
    assert page.locator("#trial-table tbody tr").count() == 60
    assert page.locator("figure > svg").count() >= 20
    assert page.get_by_label("Show rows with").is_hidden()
    assert page.get_by_role("button").count() == 0
    page.get_by_text("The study definition, as run").click()
    assert page.get_by_text("a comment that must survive").is_visible()
    assert len(downloaded_rows(download(page, "trials.csv"))) == 60


def download(page: Page, name: str, role: Literal["link", "button"] = "link") -> Download:
    """Asks for a file by the keyboard."""
    page.get_by_role(role, name=name, exact=True).focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    return waiting.value


def downloaded_rows(file: Download) -> list[dict[str, str]]:
    data = Path(file.path()).read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def expected_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """The trials frame as JSON values."""
    frame = trials_frame(study).astype(object)
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in frame.where(frame.notna(), None).to_dict(orient="records")
    ]


@pytest.mark.parametrize("kind", ["finished", "hostile"])
def test_both_files_hold_the_trials_to_the_last_digit(
    open_report: Open, study_of_kind: Callable[[str], StudyRecord], kind: str
) -> None:
    page, trials = open_report(kind).page, expected_rows(study_of_kind(kind))
    made = download(page, "trials.json", "button")
    assert made.suggested_filename == "trials.json"
    assert json.loads(Path(made.path()).read_text(encoding="utf-8")) == trials
    for row, trial in zip(downloaded_rows(download(page, "trials.csv")), trials, strict=True):
        assert {name: None if field == "" else parsed(name, field) for name, field in row.items()} == {
            name: None if value == "" else value for name, value in trial.items()
        }


def parsed(name: str, field: str) -> object:
    if name in TEXT_COLUMNS:
        return field
    return {"True": True, "False": False}[field] if field in ("True", "False") else json.loads(field)


def test_the_confirmation_runs_can_be_downloaded_too(open_report: Open, study: StudyRecord) -> None:
    rows = downloaded_rows(download(open_report().page, "confirmation.csv"))
    assert [row["name"] for row in rows] == confirmation_frame(study)["name"].tolist()


def test_the_table_sorts_by_keyboard_and_says_so(open_report: Open) -> None:
    page = open_report().page
    heading = page.locator("#trial-table th[scope=col]", has_text="KL slope")
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    rising = column(page, "KL slope")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert rising == sorted(rising, key=lambda value: (math.isnan(value), value))
    assert math.isnan(rising[-1])
    page.keyboard.press("Space")
    falling = column(page, "KL slope")
    assert falling == sorted(falling, key=lambda value: (math.isnan(value), -value))
    assert math.isnan(falling[-1])
    assert page.locator("#said").inner_text() == "Sorted by KL slope, descending; missing values last."
    page.locator("#trial-table th", has_text="origin").get_by_role("button").click()
    assert page.locator("#trial-table th[aria-sort]").count() == 1


def test_folded_tables_sort_by_keyboard_too(open_report: Open) -> None:
    page = open_report().page
    fold = page.locator("details", has=page.locator("caption", has_text="Every confirmation run"))
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    heading = fold.locator("th[scope=col]", has_text="seed")
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    seeds = [int(text) for text in fold.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert len(seeds) > 2
    assert seeds == sorted(seeds)
    assert heading.get_attribute("aria-sort") == "ascending"


class Missing(float):
    """A missing number that is equal to itself, so that lists of them can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Missing)

    def __hash__(self) -> int:
        return 0


def column(page: Page, name: str) -> list[float]:
    """A column of the trial table from top to bottom."""
    names = [text.removesuffix("↕").strip() for text in page.locator("#trial-table thead th").all_inner_texts()]
    cells = page.locator(f"#trial-table tbody tr > :nth-child({names.index(name) + 1})").all_inner_texts()
    return [Missing("nan") if text in ("", "–") else float(text) for text in cells]


def test_the_table_filters_by_words_and_by_outcome(open_report: Open, study: StudyRecord) -> None:
    page = open_report().page
    shown = page.locator("#trial-table tbody tr:visible")
    page.get_by_label("Show rows with").focus()
    page.keyboard.type("ALIVE")
    collapsed = sum(any(gate.name == "alive" and not gate.passed for gate in t.gates) for t in study.trials)
    assert shown.count() == collapsed - sum(trial.diverged for trial in study.trials)
    page.get_by_label("Show rows with").fill("")
    page.get_by_label("Outcome", exact=True).select_option("passes")
    passed = sum(trial.passed for trial in study.trials)
    assert shown.count() == passed
    assert page.locator("#trial-count").inner_text() == f"{passed} of 60 rows fit."
    page.get_by_label("Show rows with").fill("no such words")
    assert shown.count() == 0


def test_the_table_filters_by_a_column_and_its_numbers(open_report: Open, study: StudyRecord) -> None:
    page = open_report().page
    shown = page.locator("#trial-table tbody tr:visible")
    low, high = page.locator("#trial-low"), page.locator("#trial-high")
    assert low.is_hidden(), "numbers are those of a column"
    page.get_by_label("in", exact=True).select_option("KL")
    low.fill("2")
    high.fill("4.5")
    found = column(page, "KL")
    assert shown.count() == sum(2 <= kl <= 4.5 for kl in found) > 0
    high.fill("")
    assert shown.count() == sum(kl >= 2 for kl in found)
    low.fill("")
    page.get_by_label("in", exact=True).select_option("outcome")
    page.get_by_label("Show rows with").fill("miss")
    misses = sum(trial.state.value == "complete" and not trial.passed and not trial.diverged for trial in study.trials)
    assert shown.count() == misses


def test_the_headings_of_the_trial_table_stay_in_view(open_report: Open) -> None:
    page = open_report().page
    box = page.locator(".scroll", has=page.locator("#trial-table"))
    box.evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
    top = "(one) => one.getBoundingClientRect().top"
    assert page.locator("#trial-table thead th").first.evaluate(top) == pytest.approx(box.evaluate(top), abs=2)


def test_points_are_read_by_the_arrow_keys_and_lead_to_their_rows(open_report: Open) -> None:
    page = open_report().page
    figure = page.locator("#rate-distortion")
    points, reading = figure.locator("svg a"), figure.locator(".reading")
    assert sum(one.get_attribute("tabindex") == "0" for one in points.all()) == 1, "one stop of the Tab key"
    figure.locator("svg a[tabindex='0']").focus()
    first = reading.inner_text()
    assert re.match(r"trial \d+, .*: final KL \S+ nats per latent, unexplained \S+", first)
    page.keyboard.press("ArrowRight")
    second = reading.inner_text()
    assert second != first and second == page.evaluate("() => document.activeElement.textContent")
    page.keyboard.press("ArrowLeft")
    assert reading.inner_text() == first
    page.keyboard.press("Enter")
    trial = re.findall(r"trial (\d+)", first)[0]
    row = page.locator(f"#trial-{trial}")
    expect(row).to_be_in_viewport()
    assert row.locator("th").inner_text() == trial


def test_the_settings_can_be_copied(open_report: Open) -> None:
    page = open_report(permissions=["clipboard-read", "clipboard-write"]).page
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.locator("#settings pre").first.inner_text()


def test_a_table_wider_than_a_phone_says_so_and_is_shaded_until_its_end(open_report: Open) -> None:
    gates = open_report(width=PHONE).page.get_by_role("region", name="Gates of the winner")
    expect(gates).to_have_css("box-shadow", re.compile("inset"))
    hint = "(caption) => getComputedStyle(caption, '::after').content"
    assert "scroll sideways" in gates.locator("caption span").evaluate(hint)
    gates.evaluate("(region) => { region.scrollLeft = region.scrollWidth; }")
    expect(gates).to_have_css("box-shadow", "none")
    fits = open_report(width=DESKTOP).page.get_by_role("region", name="Gates of the winner")
    expect(fits).to_have_attribute("data-wide", "no")
    assert fits.locator("caption span").evaluate(hint) == "none"


def test_printing_shows_every_section_and_opens_what_is_folded(open_report: Open) -> None:
    page = open_report(theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for heading in page.locator("h2").all():
        assert heading.is_visible()
    assert page.get_by_text("a comment that must survive").is_visible()
    assert page.locator("footer").is_hidden(), "it would have the last page to itself"
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") > 5
