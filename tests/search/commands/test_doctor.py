"""`klsearch doctor`: what is well, what is not, and the way out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.commands import doctor
from klsearch.search.storage.opening import open_storage

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, PostgresServer

Klsearch = Callable[..., "Called"]


@pytest.fixture
def known_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the four seconds that loading TensorFlow takes to the tests that are about it."""
    monkeypatch.setattr(doctor, "_devices", lambda: doctor.Finding(works=True, words="CPU:0"))


@pytest.mark.slow("loads every library")
def test_where_studies_can_be_run_everything_is_named_and_well(klsearch: Klsearch) -> None:
    called = klsearch("doctor")
    assert (called.code, called.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in called.out.splitlines())
    assert {"klsearch", "tensorflow", "keras", "optuna", "python", "memory", "klsearch[dask]"} <= found.keys()
    assert "CPU:0" in found["devices"]
    assert found["storage"] == "none named: each run keeps its own"


@pytest.mark.usefixtures("known_devices")
def test_the_document_holds_the_same(klsearch: Klsearch, finished: "Finished") -> None:
    url = f"journal:///{finished.folder / 'storage.journal'}"
    document = klsearch("doctor", "--storage", url, "--json").document
    assert document["works"]
    assert 0 < document["memory"]["free"] < document["memory"]["total"]
    assert set(document["extras"]) == {"dashboard", "dask", "parquet", "postgres"}
    assert document["storage"] == {"works": True, "words": f"{url} answers; it holds 1 study"}


@pytest.mark.usefixtures("known_devices")
def test_a_storage_that_does_not_answer_exits_with_4_and_shows_no_password(
    klsearch: Klsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLSEARCH_STORAGE", "postgresql+psycopg://me:t0p5ecret@127.0.0.1:1/x")
    for arguments in (["doctor"], ["doctor", "--json"]):
        called = klsearch(*arguments)
        assert (called.code, called.err) == (4, "")
        assert "cannot open the storage postgresql+psycopg://me@127.0.0.1:1/x" in called.out
        assert "t0p5ecret" not in called.out


@pytest.mark.usefixtures("known_devices")
def test_a_storage_that_the_first_run_will_make_is_well(
    klsearch: Klsearch, postgres_server: "PostgresServer", tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    assert f"{url} is not there yet; the first run makes it" in klsearch("doctor", "--storage", url).out
    postgres_server.psql("create database fresh owner searcher;")
    fresh = postgres_server.url.replace("/studies?", "/fresh?")
    assert "answers; the first run makes its tables" in klsearch("doctor", "--storage", fresh).out
    with open_storage(fresh, create=True):
        pass
    assert "answers; it holds 0 studies" in klsearch("doctor", "--storage", fresh).out


def test_a_tensorflow_that_does_not_load_is_named_with_its_reason(
    klsearch: Klsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    called = klsearch("doctor")
    assert called.code == 1
    assert "TensorFlow does not load: ImportError: libcudart.so.13: cannot open shared object file" in called.out


@pytest.mark.slow("loads TensorFlow in a process")
def test_the_user_s_own_modules_in_the_working_folder_are_not_taken_for_ours(
    klsearch: Klsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vae.py", "search.py"):
        (tmp_path / name).write_text("raise RuntimeError('the user's own')\n")
    monkeypatch.chdir(tmp_path)
    called = klsearch("doctor")
    assert called.code == 0, called.out


def test_an_extra_that_is_not_installed_comes_with_what_installs_it() -> None:
    missing = doctor._find_package("dask", "a-package-that-nobody-has-made")
    assert (missing.works, missing.words) == (False, "not installed; pip install 'klsearch[dask]'")
