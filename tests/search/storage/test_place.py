"""Where a study lives."""

import json
import os
import pickle
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from klsearch.search.storage.opening import file_of
from klsearch.search.storage.place import Place, known_place, new_place
from klsearch.studies.errors import StorageError, StudyConflict, UsageError

pytestmark = pytest.mark.usefixtures("work")

TOML = "[study]\n"


def new(name: str = "tiny", *, storage: str | None = None, out: Path | None = None) -> Place:
    return new_place(name, storage=storage, out=out)


def known(run: str | None = None, *, storage: str | None = None, study: str | None = None) -> Place:
    return known_place(run, storage=storage, study=study)


def test_a_study_goes_below_runs_and_keeps_its_storage_there(work: Path) -> None:
    place = new()
    assert (place.folder, place.embedded, place.name) == (work / "runs" / "tiny", True, "tiny")
    assert place.url == f"journal:///{work}/runs/tiny/storage.journal"
    assert not place.folder.exists(), "nothing is written before the study is created"


def test_a_run_is_found_by_folder_and_by_name(work: Path) -> None:
    new().create(TOML)
    new(out=work / "elsewhere").create(TOML)
    assert known("tiny") == known("runs/tiny") == known(str(work / "runs" / "tiny")) == new()
    assert known("elsewhere").folder == work / "elsewhere"


def test_a_run_folder_that_moved_is_still_the_run(work: Path) -> None:
    new().create(TOML)
    (work / "runs" / "tiny").rename(work / "moved")
    assert known("moved").url == f"journal:///{work}/moved/storage.journal"


def test_a_storage_that_moved_with_its_run_folder_or_by_itself_is_still_the_run_s(work: Path) -> None:
    url = f"sqlite:///{work}/runs/tiny/study.db"
    new(storage=url).create(TOML)
    (work / "runs" / "tiny" / "study.db").touch()
    (work / "runs" / "tiny").rename(work / "moved")
    assert known("moved").url == f"sqlite:///{work}/moved/study.db"
    (work / "moved" / "study.db").rename(work / "elsewhere.db")
    place = known("moved", storage="sqlite:///elsewhere.db")
    assert place.url == f"sqlite:///{work}/elsewhere.db"
    place.create(TOML)
    assert known("moved").url == place.url, "the folder knows it from then on"


@pytest.mark.parametrize("name", ["a b", "50%20", "was?ist#das", "ä", "$(touch PWNED)", "x'; touch PWNED; '"])
def test_a_folder_of_any_name_holds_its_own_storage_and_can_be_pasted(name: str, work: Path) -> None:
    new(out=work / name).create(TOML)
    assert file_of(known(name).url) == work / name / "storage.journal"
    assert shlex.split(known(name).resume_command) == ["klsearch", "resume", name]


def test_a_folder_that_looks_like_an_option_is_named_as_a_path(work: Path) -> None:
    new(out=work / "--help").create(TOML)
    assert known("./--help").resume_command == "klsearch resume ./--help"


def test_runs_are_named_in_a_way_that_can_be_pasted(work: Path) -> None:
    new(out=work / "runs" / "$(touch PWNED)").create(TOML)
    with pytest.raises(UsageError, match=re.escape("there are 'runs/$(touch PWNED)'")):
        known("another")


def test_a_storage_file_is_meant_relative_to_where_it_was_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new(storage="sqlite:///x.db").create(TOML)
    (work / "elsewhere").mkdir()
    monkeypatch.chdir(work / "elsewhere")
    assert known("../runs/tiny").url == f"sqlite:///{work}/x.db"


def test_a_run_folder_remembers_its_storage_but_no_password() -> None:
    url = "postgresql+psycopg://me:secret@db/studies?sslmode=require"
    new(storage=url).create(TOML)
    assert known("tiny").url == "postgresql+psycopg://me@db/studies?sslmode=require"
    assert new().url == known("tiny").url, "run continues where the study is"
    assert known("tiny", storage=url).url == url
    assert "secret" not in "".join(path.read_text() for path in Path("runs/tiny").iterdir())


def test_a_storage_that_only_a_folder_names_is_not_used(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://me@foreign.example/studies"
    (work / "foreign").mkdir()
    (work / "foreign" / "run.json").write_text(json.dumps({"study": "tiny", "storage": url}))
    way_out = re.escape(f"If you trust it, name it once: klsearch status {work}/foreign --storage {url}")
    with pytest.raises(UsageError, match=way_out):
        known("foreign")
    with pytest.raises(UsageError, match=way_out):
        new(out=work / "foreign")
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@db/studies")
    with pytest.raises(UsageError, match=way_out):
        known("foreign")
    assert known("foreign", storage=url).url == url
    assert known("foreign").url == url, "it was named before"
    monkeypatch.setenv("KLSEARCH_CACHE", "/proc/nowhere")
    with pytest.raises(UsageError, match=way_out):
        known("foreign")
    assert known("foreign", storage=url).url == url


def test_what_is_sent_to_other_machines_holds_no_password_and_they_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = new(storage="postgresql+psycopg://me:secret@db/studies")
    sent = place.without_password()
    assert b"secret" not in pickle.dumps(sent)
    assert sent.with_own_password() == sent
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@elsewhere/studies")
    assert sent.with_own_password() == sent
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@db/studies")
    assert sent.with_own_password() == place


def test_the_environment_names_the_storage_of_a_new_study(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    monkeypatch.setenv("KLSEARCH_STORAGE", "sqlite:///env.db")
    assert new().url == f"sqlite:///{work}/env.db"
    assert new(storage="sqlite:///given.db").url == f"sqlite:///{work}/given.db"
    assert known(study="tiny").url == f"sqlite:///{work}/env.db"


def test_the_environment_does_not_lead_a_run_away_from_its_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    new().create(TOML)
    before = known("tiny")
    monkeypatch.setenv("KLSEARCH_STORAGE", "sqlite:///env.db")
    assert new() == known("tiny") == before


def test_the_environment_brings_the_password_of_a_run_s_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    new(storage="postgresql+psycopg://me:secret@db/studies").create(TOML)
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@db/studies")
    assert known("tiny").url == "postgresql+psycopg://me:secret@db/studies"
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@otherdb/studies")
    assert known("tiny").url == "postgresql+psycopg://me@db/studies"


def test_the_environment_brings_the_password_of_a_storage_without_a_run_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:secret@db/studies")
    resumed = known(storage="postgresql+psycopg://me@db/studies", study="tiny")
    assert resumed.url == "postgresql+psycopg://me:secret@db/studies"
    other = known(storage="postgresql+psycopg://me@otherdb/studies", study="tiny")
    assert other.url == "postgresql+psycopg://me@otherdb/studies"


def test_another_storage_for_a_run_is_refused() -> None:
    new().create(TOML)
    with pytest.raises(StudyConflict, match=r"lies in journal:.*leave --storage out"):
        new(storage="sqlite:///x.db")
    with pytest.raises(StudyConflict, match=r"lies in journal:.*leave --storage out"):
        known("tiny", storage="sqlite:///x.db")


def test_another_study_in_a_run_folder_is_refused(work: Path) -> None:
    new().create(TOML)
    with pytest.raises(StudyConflict, match="holds study 'tiny', not 'other'"):
        new("other", out=work / "runs" / "tiny")


def test_a_folder_with_something_else_in_it_is_refused(work: Path) -> None:
    (work / "photos").mkdir()
    (work / "photos" / "cat.png").touch()
    (work / "file").touch()
    with pytest.raises(UsageError, match="is not empty and not a run folder; give another --out"):
        new(out=work / "photos")
    with pytest.raises(UsageError, match="is a file; give another --out"):
        new(out=work / "file")


def test_an_empty_folder_and_one_where_a_study_was_cut_off_in_the_making_are_taken(work: Path) -> None:
    for name, files in {"empty": (), "begun": ("storage.journal", ".lock")}.items():
        (work / name).mkdir()
        for file in files:
            (work / name / file).touch()
        assert new(out=work / name).folder == work / name


def test_a_run_that_does_not_exist_is_named_with_those_that_do(work: Path) -> None:
    with pytest.raises(UsageError, match="tiny: no such run folder; `klsearch run STUDY` starts one"):
        known("tiny")
    new().create(TOML)
    with pytest.raises(UsageError, match="tidy: no such run folder; there are runs/tiny"):
        known("tidy")
    with pytest.raises(UsageError, match="--storage URL with --study NAME"):
        known()


def test_of_very_many_runs_a_few_are_named(work: Path) -> None:
    for number in range(1000):
        (work / "runs" / f"r{number:03}").mkdir(parents=True)
        (work / "runs" / f"r{number:03}" / "run.json").touch()
    with pytest.raises(
        UsageError, match=r"tiny: no such run folder; there are runs/r000, .*, runs/r009 and 990 more\.$"
    ):
        known("tiny")


BROKEN = ("", "[]", "{}", '{"study": "tiny"}', "\0", '{"study": "tiny", "storage": 1}')
NESTED, LONG = '{"study":' + "[" * 90_000, "9" * 100_001


@pytest.mark.parametrize("about", [*BROKEN, NESTED, LONG], ids=lambda about: about[:20])
def test_a_run_folder_whose_note_is_broken_says_so(about: str, work: Path) -> None:
    new().create(TOML)
    (work / "runs" / "tiny" / "run.json").write_text(about)
    with pytest.raises(StorageError, match=r"run\.json cannot be read"):
        known("tiny")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_run_folder_whose_note_is_no_file_is_not_waited_for(make: Callable[[Path], None], work: Path) -> None:
    new().create(TOML)
    note = work / "runs" / "tiny" / "run.json"
    note.unlink()
    make(note)
    with pytest.raises(StorageError, match=r"run\.json cannot be read: it is no ordinary file"):
        known("tiny")


def test_the_definition_lies_in_the_run_folder_as_it_was_run(work: Path) -> None:
    new().create(TOML)
    assert (work / "runs" / "tiny" / "study.toml").read_text() == TOML
    assert json.loads((work / "runs" / "tiny" / "run.json").read_text()) == {"study": "tiny", "storage": None}


def test_the_resume_command_is_short_and_can_be_typed_as_it_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new().create(TOML)
    assert known("tiny").resume_command == "klsearch resume runs/tiny"
    monkeypatch.chdir(work / "runs")
    assert known("tiny").resume_command == "klsearch resume tiny"
    (work / "elsewhere").mkdir()
    monkeypatch.chdir(work / "elsewhere")
    assert known(str(work / "runs" / "tiny")).resume_command == f"klsearch resume {work}/runs/tiny"


def test_a_study_without_a_run_folder_is_resumed_by_its_storage() -> None:
    place = known(storage="postgresql+psycopg://me:secret@db/studies", study="my study")
    assert place.resume_command == ("klsearch resume --storage postgresql+psycopg://me@db/studies --study 'my study'")


def test_one_process_at_a_time_holds_a_run_folder() -> None:
    place = new()
    with place.hold():
        with pytest.raises(StudyConflict, match=r"is being trained by process \d+; wait for it, or give another --out"):
            with place.hold():
                pass
    with place.hold():
        pass  # free again


def test_a_storage_that_is_shared_is_held_by_nobody() -> None:
    place = new(storage="sqlite:///x.db")
    with place.hold(), place.hold():
        assert not place.folder.exists()
