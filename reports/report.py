"""The report: one self-contained HTML file, made of a study's records and of nothing else."""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from klsearch.reports.page import Page
from klsearch.reports.pages.audited import audited_page
from klsearch.reports.pages.comparison import comparison_page
from klsearch.reports.pages.watched import watched_page
from klsearch.reports.paths import without_paths
from klsearch.reports.readings.causes import causes
from klsearch.reports.readings.responses import responses
from klsearch.reports.sections.advice import advice_section, recipe_section
from klsearch.reports.sections.banner import as_of, banner
from klsearch.reports.sections.evidence import evidence_section
from klsearch.reports.sections.failures import failures_section
from klsearch.reports.sections.glossary import glossary_section
from klsearch.reports.sections.kl_weight import kl_weight_sections
from klsearch.reports.sections.models.dynamics import dynamics_section
from klsearch.reports.sections.models.pictures import pictures_section
from klsearch.reports.sections.models.usefulness import usefulness_sections
from klsearch.reports.sections.provenance import provenance_section
from klsearch.reports.sections.search import health_section, importance_section
from klsearch.reports.sections.settings import settings_section
from klsearch.reports.sections.trial_list import trials_section
from klsearch.reports.visible import show_hidden
from klsearch.studies.files import write_atomically
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.vae.diagnostics.audit.findings import Facts, Finding
from klsearch.vae.diagnostics.watched import Watched

_TEMPLATE = Path(__file__).with_name("template")


def write_report(study: StudyRecord, path: Path, *, with_paths: bool = False) -> Path:
    """Write the report to a file, whole or not at all; the same records give the same bytes. Gives the path.

    Args:
        study: the records.
        path: of the file.
        with_paths: whether it tells where the storage is, and the folders of absolute paths.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, render_report(study, with_paths=with_paths))
    return path


def render_report(study: StudyRecord, *, with_paths: bool = False) -> str:
    """The report as HTML that loads nothing, runs only its own script, and can be read without it.

    See `write_report`.
    """
    return _render(report_page(study if with_paths else without_paths(study)))


def write_comparison(first: StudyRecord, second: StudyRecord, path: Path) -> Path:
    """Write the comparison of two studies to a file, as `write_report` does. Gives the path.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, render_comparison(first, second))
    return path


def render_comparison(first: StudyRecord, second: StudyRecord) -> str:
    """Two studies side by side, as HTML like the report's."""
    return _render(comparison_page(first, second))


def write_watched(watched: Watched, path: Path, *, name: str) -> Path:
    """Write the page of a training that `KLMonitor` watched to a file, as `write_report` does. Gives the path.

    Args:
        watched: what was seen.
        path: of the file.
        name: of the model.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, _render(watched_page(watched, name)))
    return path


def write_audit(findings: Sequence[Finding], facts: Facts, path: Path, *, definition: str, name: str) -> Path:
    """Write the page of an audit to a file, as `write_report` does. Gives the path.

    Args:
        findings: of the model.
        facts: reductions and weights by name.
        path: of the file.
        definition: that searches the model's settings; "" where there is none.
        name: what makes the model.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, _render(audited_page(findings, facts, definition, name)))
    return path


def render_head(study: StudyRecord) -> str:
    """The report's head alone, for notebooks: HTML with its style in place, which changes nothing around it."""
    template = _environment().get_template("head.html.j2")
    return show_hidden(template.render(study=study.name, banner=banner(study, summarize(study))))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _escape_with_code
    return environment


def _render(page: Page) -> str:
    script = _slim((_TEMPLATE / "report.js").read_text(encoding="utf-8"))
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            style=(_TEMPLATE / "report.css").read_text(encoding="utf-8"),
            script=script,
            script_hash=_csp_hash(script),
        )
    )
    return show_hidden(html)


def report_page(study: StudyRecord) -> Page:
    """The content of the report, without a line of HTML."""
    summary, found, measured = summarize(study), causes(study), responses(study)
    return Page(
        study=study.name,
        banner=banner(study, summary),
        sections=(
            settings_section(study, summary),
            advice_section(study, summary),
            *kl_weight_sections(study),
            evidence_section(study, summary),
            dynamics_section(study, measured),
            pictures_section(study),
            *usefulness_sections(study),
            importance_section(study, summary),
            recipe_section(study, measured),
            failures_section(study, found),
            health_section(study),
            trials_section(study),
            provenance_section(study),
            glossary_section(study),
        ),
        as_of=as_of(study),
    )


_ROOMY = re.compile(r" ?(=>|===|!==|&&|\|\||\?\?|[<>]=?|[=?:+,*-]) ?|(?<=[\[{(,;])\s| (?=\})")


def _slim(script: str) -> str:
    r"""The script without comments, indentation, and spaces that mean nothing where they are surely in no literal.

    >>> _slim('  const a = [1, 2];\n  // odd\n  say(" , ", a);\n  say(`"${ a } `);')
    'const a=[1,2];\nsay(" , ",a);\nsay(`"${ a } `);'
    """
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(_tighten(line) for line in lines if line and not line.startswith("//"))


def _tighten(line: str) -> str:
    """A line of a script without spaces outside of its strings; as it is, where other literals may hold quotes too."""
    if re.search("['`/\\\\]", line):
        return line
    parts = enumerate(line.split('"'))
    return '"'.join(part if at % 2 else _ROOMY.sub(lambda match: match[1] or "", part) for at, part in parts)


def _csp_hash(script: str) -> str:
    """The hash by which a content-security policy names a script's text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _escape_with_code(text: str) -> str:
    """Text as markup, its words in backticks set as code; no line breaks between a number and its percent sign."""
    coded = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"[^\s<>]*\d %", r'<span class="unbroken">\g<0></span>', coded)
