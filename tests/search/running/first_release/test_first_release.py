"""A study of the first release: it still reads, reports and continues; one of a release to come is refused.

`first_release/` holds a run folder that commit 41067a3 left, and the documents that its own commands printed of it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.study import SCHEMA_VERSION, StudyStorage

if TYPE_CHECKING:
    from tests.search.conftest import Called

Klsearch = Callable[..., "Called"]

KEPT = Path(__file__).parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run folder as a copy that may be written."""
    (tmp_path / "run").mkdir()
    for name in ("run.json", "study.toml", "storage.journal"):
        shutil.copy(KEPT / name, tmp_path / "run")
    return tmp_path / "run"


def printed(command: str) -> dict[str, Any]:
    """What the first release printed."""
    document: dict[str, Any] = json.loads((KEPT / f"{command}.json").read_text())
    return document


def schema(run: Path, *, written: int | None = None) -> int:
    """The version that a study stores; another one written first, if there is one."""
    with open_storage(f"journal:///{run / 'storage.journal'}", create=False) as storage:
        study = storage.get_study_id_from_name("tiny")
        if written is not None:
            storage.set_study_user_attr(study, "klsearch:schema", written)
        return int(storage.get_study_user_attrs(study)["klsearch:schema"])


def among(now: Any, before: Any) -> Any:
    """Of a document, the entries that an earlier one has too: later releases add some, such as hyperparameters."""
    if isinstance(now, dict) and isinstance(before, dict):
        return {name: among(now[name], entry) for name, entry in before.items() if name in now}
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [among(entry, earlier) for entry, earlier in zip(now, before, strict=True)]
    return now


@pytest.mark.parametrize("command", ["best", "trials", "status"])
def test_a_study_of_the_first_release_says_what_it_said_then(command: str, run: Path, klsearch: Klsearch) -> None:
    called = klsearch(command, run, "--json")
    assert called.code == 0, called.err
    before = printed(command)
    if command != "trials":
        assert called.document["sentence"].startswith(before.pop("sentence")), "causes and price follow it now"
        before.pop("caveats", None)  # an edge is none any more where no seed passes
    assert among(called.document, before) == before
    assert klsearch(command, run).code == 0, "for people too"
    assert schema(run) == 1


def test_a_study_of_the_first_release_gives_a_report(run: Path, klsearch: Klsearch) -> None:
    called = klsearch("report", run)
    assert called.code == 0, called.err
    html = (run / "report.html").read_text()
    assert "Only 4 trials have finished; 20 are needed to judge." in html
    assert "was confirmed before" not in html


@pytest.mark.slow("searches and confirms")
def test_a_study_of_the_first_release_continues_and_is_confirmed_anew(run: Path, klsearch: Klsearch) -> None:
    called = klsearch("resume", run, "--trials", 6, "--no-confirm")
    assert called.code == 0, called.err
    listed = klsearch("trials", run, "--json").document["trials"]
    assert [trial["state"] for trial in listed] == ["complete"] * 6
    kept = printed("trials")["trials"]
    assert among(listed[:4], kept) == kept
    since = klsearch("best", run, "--json").document["since_confirmed"]
    assert since["trials"] == 2
    assert klsearch("confirm", run).code == 0
    assert klsearch("best", run, "--json").document["since_confirmed"] is None


def test_a_new_study_stores_the_version_of_this_code(study: StudyStorage, tmp_path: Path) -> None:
    with open_storage(f"journal:///{tmp_path / 'journal'}", create=False) as storage:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(study.name))
    assert attributes["klsearch:schema"] == SCHEMA_VERSION == 2


@pytest.mark.parametrize("command", ["best", "status", "trials", "report", "resume", "confirm"])
def test_a_study_of_a_release_to_come_is_refused_in_one_line(command: str, run: Path, klsearch: Klsearch) -> None:
    schema(run, written=SCHEMA_VERSION + 1)
    called = klsearch(command, run)
    assert (called.code, called.out) == (4, "")
    assert called.err.splitlines()[-1] == (
        f"klsearch: study 'tiny' was written by a newer klsearch (storage format {SCHEMA_VERSION + 1}, this one knows "
        f"{SCHEMA_VERSION}); upgrade klsearch to read it or to go on with it."
    )
    assert len([line for line in called.err.splitlines() if "newer klsearch" in line]) == 1


@pytest.fixture
def scored_otherwise(run: Path) -> Path:
    """The run folder of a study whose trials were scored by a rule that this code no longer has."""
    with open_storage(f"journal:///{run / 'storage.journal'}", create=False) as storage:
        StudyStorage.load(storage, "tiny").change_facts(scoring={"measures": 1, "score": 0})
    return run


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15, NumPy 2.4
@pytest.mark.slow("exports, which trains")
def test_a_study_that_was_scored_otherwise_is_still_read_reported_and_exported(
    scored_otherwise: Path, klsearch: Klsearch, tmp_path: Path
) -> None:
    before = printed("best")
    called = klsearch("best", scored_otherwise, "--json")
    assert called.document["sentence"].startswith(before.pop("sentence"))
    del before["caveats"]  # an edge is none any more where no seed passes
    assert among(called.document, before) == before
    assert klsearch("report", scored_otherwise).code == 0
    assert klsearch("export", scored_otherwise, tmp_path / "exported").code == 0


@pytest.mark.parametrize("command", ["resume", "confirm"])
def test_trials_of_two_scores_are_never_mixed_in_a_study(
    command: str, scored_otherwise: Path, klsearch: Klsearch
) -> None:
    called = klsearch(command, scored_otherwise)
    assert (called.code, called.out) == (2, "")
    assert "scored otherwise than this klsearch scores (score: 0, now 1)" in called.err.splitlines()[-1]
