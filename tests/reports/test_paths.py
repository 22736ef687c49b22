"""Reports for others: what tells of the machine of whoever ran the study is left out."""

from dataclasses import replace

import pytest

from klsearch.reports.paths import without_folders, without_paths, without_samples
from klsearch.reports.report import render_comparison, render_report
from klsearch.studies.record import ConfirmationRun, DataFacts, StudyRecord
from klsearch.vae.data.cautions import Caution


def facts(notes: tuple[str, ...], warnings: tuple[Caution, ...]) -> DataFacts:
    rows = {"train": 70, "validation": 15, "test": 15}
    return DataFacts(rows=rows, shape=(4,), scaling="none", fingerprint="f", notes=notes, warnings=warnings)


def failed(run: ConfirmationRun, error: str) -> ConfirmationRun:
    return replace(run, error=error)


@pytest.fixture
def private(study: StudyRecord) -> StudyRecord:
    """A study that names a host, a database and folders wherever it can."""
    traceback = 'Traceback:\n  File "/home/secret/vae.py", line 3\nOSError: /mnt/secret/x.npy and C:\\secret\\y.npy'
    source = study.definition.data.model_copy(update={"source": "~/secret/rows.csv"})
    model = study.definition.model.model_copy(update={"kind": "/home/o'secret/my secret/vae.py:make"})
    data = facts(("/home/secret/rows.csv: column 'a'",), (Caution("in /mnt/secret stuff/rows.csv", "few-rows"),))
    refused = 'OperationalError: server at "db.secret.org" (10.1.2.3), no file:///home/secret/x'
    return replace(
        study,
        definition=study.definition.model_copy(update={"data": source, "model": model}),
        data=data,
        race=(replace(study.race[0], error=refused), *study.race[1:]),
        confirmation=(failed(study.confirmation[0], refused), *study.confirmation[1:]),
        warm_start="3 of 4 complete trials of study 'a' (postgresql://me@db.secret.org/secret)",
        definition_toml='[data]\nsource = "/home/secret/rows.csv"  # half, 1/2\n',
        trials=(replace(study.trials[0], error=traceback), *study.trials[1:]),
        storage="postgresql+psycopg://me@db.secret.org/secret",
        resume_command="klsearch resume --storage postgresql+psycopg://me@db.secret.org/secret --study digits",
    )


def test_neither_host_nor_folder_stands_in_a_report_unless_asked_for(private: StudyRecord) -> None:
    html = render_report(private)
    assert "secret" not in html and "10.1.2.3" not in html
    assert "postgresql+psycopg" in html and "--with-paths" in html
    asked = render_report(private, with_paths=True)
    assert "db.secret.org" in asked and "/home/secret/vae.py" in asked


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
        ("klsearch resume '/home/my secret/runs/my digits'", "klsearch resume 'my digits'"),
        ("""klsearch resume '/home/o'"'"'secret/runs/digits'""", "klsearch resume digits"),
        (
            "klsearch resume --storage 'sqlite:////my secret/s.db' --study digits",
            'klsearch resume --storage "$KLSEARCH_STORAGE" --study digits',
        ),
    ],
)
def test_a_run_folder_is_named_as_it_was_or_by_its_name(study: StudyRecord, command: str, shown: str) -> None:
    assert without_paths(replace(study, resume_command=command)).resume_command == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("file:///home/secret/x.csv", "…/x.csv"),
        ("file://secret/home/x.csv", "…/x.csv"),
        ("sqlite:////home/secret/study.db is locked", "…/study.db is locked"),
        ("PYTHONPATH=/a/b:/home/secret/lib/x", "PYTHONPATH=…/x"),
        ("no /home/my secret/x.npy and /b/y.npy", "no …/x.npy and …/y.npy"),
        ('source = "/home/o\'secret/my rows/x.csv"', 'source = "…/x.csv"'),
        ('source = "C:\\\\Users\\\\my secret\\\\x.csv"', 'source = "…/x.csv"'),
        (r"\\secret\share\x.csv", "…/x.csv"),
        ("s3://secret/rows.npy", "s3://…"),
        ("https://me:secret@a.org/b", "https://…"),
        ("see https://a.org/b/c, and/or a/b, 1/2, ./x, </pre> of </p>", None),
        ("in /home/me/a.py of 2/3 rows", "in …/a.py of 2/3 rows"),
    ],
)
def test_paths_are_known_by_their_beginning_and_lose_their_folders(text: str, shown: str | None) -> None:
    assert without_folders(text) == (text if shown is None else shown)


def test_a_comparison_tells_that_folders_differ_and_not_which(study: StudyRecord) -> None:
    def reading(source: str) -> StudyRecord:
        data = study.definition.data.model_copy(update={"source": source})
        return replace(study, definition=study.definition.model_copy(update={"data": data}))

    html = render_comparison(reading("/home/secret/x.csv"), reading("/mnt/secret/x.csv"))
    assert "…/x.csv (of another folder)" in html and "secret" not in html


def test_without_samples_what_names_a_column_is_left_out_and_nothing_else(study: StudyRecord) -> None:
    notes = (
        "t.csv: decimal commas in columns 'age', \"o'brien\"",
        "t.csv: the condition 'ward' is one of 3 categories: a, b, c",
        "the last column has neither name nor values, and that's all",
    )
    warnings = (
        Caution("row numbers: columns 'id'", "row-numbers"),
        Caution("80 training rows are fewer than the 90 columns", "few-rows"),
        Caution("of an earlier release: columns 'id'"),
        Caution("of an earlier release: many columns"),
    )
    told = without_samples(replace(study, data=facts(notes, warnings)))
    assert told.samples is None and told.latent_map is None and told.data is not None
    assert told.data.notes == notes[2:]
    assert told.data.warnings == (warnings[1], warnings[3])
    assert without_samples(replace(study, data=None)).data is None


def test_without_samples_the_definition_names_no_column(study: StudyRecord) -> None:
    named = {"labels": "dia gnosis", "group": "patient", "condition": ["ward"], "columns": {"age": "count"}}
    asked = study.definition.model_copy(update={"data": study.definition.data.model_copy(update=named)})
    toml = '[data]\nlabels = "dia gnosis"\n'
    toml += 'group = "patient"\ncondition = ["ward"]  # of a ward\ncolumns = { age = "count" }\n'
    told = without_samples(replace(study, definition=asked, definition_toml=toml)).definition_toml
    assert told == '[data]\nlabels = "…"\ngroup = "…"\ncondition = ["…"]  # of a …\ncolumns = { … = "count" }\n'
