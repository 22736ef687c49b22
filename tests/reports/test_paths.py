"""Reports for others: what tells of the machine of whoever ran the study is left out."""

from dataclasses import replace

import pytest

from klsearch.reports.paths import without_paths
from klsearch.reports.report import render_report
from klsearch.studies.record import StudyRecord


@pytest.fixture
def private(study: StudyRecord) -> StudyRecord:
    """A study that names a host, a database and folders wherever it can."""
    traceback = 'Traceback:\n  File "/home/secret/vae.py", line 3\nOSError: /mnt/secret/x.npy and C:\\secret\\y.npy'
    source = study.definition.data.model_copy(update={"source": "~/secret/rows.csv"})
    return replace(
        study,
        definition=study.definition.model_copy(update={"data": source}),
        definition_toml='[data]\nsource = "/home/secret/rows.csv"  # half, 1/2\n',
        trials=(replace(study.trials[0], error=traceback), *study.trials[1:]),
        storage="postgresql+psycopg://me@secret.example.org/secret",
        resume_command="klsearch resume --storage postgresql+psycopg://me@secret.example.org/secret --study digits",
    )


def test_neither_host_nor_folder_stands_in_a_report_unless_asked_for(private: StudyRecord) -> None:
    html = render_report(private)
    assert "secret" not in html
    assert "postgresql+psycopg" in html and "--with-paths" in html
    asked = render_report(private, with_paths=True)
    assert "secret.example.org" in asked and "/home/secret/vae.py" in asked


def test_what_is_no_folder_stays(private: StudyRecord) -> None:
    shown = without_paths(private)
    assert shown.definition_toml == '[data]\nsource = "…/rows.csv"  # half, 1/2\n'
    assert shown.definition.data.source == "…/rows.csv"
    assert shown.trials[0].error.endswith('File "…/vae.py", line 3\nOSError: …/x.npy and …/y.npy')
    assert shown.resume_command == 'klsearch resume --storage "$KLSEARCH_STORAGE" --study digits'


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("klsearch resume runs/digits", "klsearch resume runs/digits"),
        ("klsearch resume /home/secret/runs/digits", "klsearch resume digits"),
    ],
)
def test_a_run_folder_is_named_as_it_was_or_by_its_name(study: StudyRecord, command: str, shown: str) -> None:
    assert without_paths(replace(study, resume_command=command)).resume_command == shown
