"""`klsearch doctor`: what is well, what is not, and the way out."""

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.search.commands import doctor
from klsearch.search.running.versions import find_missing
from klsearch.search.storage.opening import open_storage
from klsearch.vae.training.devices.driver import InstalledCard

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
    assert set(document["extras"]) == {"dashboard", "dask", "gpu", "parquet", "postgres"}
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


def test_an_extra_that_asks_for_an_extra_of_another_package_is_there_once_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(name: str, *lines: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.5", *lines)))
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    install(
        "engine", "Requires-Dist: wheel-a>=1; extra == 'cards'", 'Requires-Dist: wheel-b ; extra == "other"',
        'Requires-Dist: wheel-c<2; python_version > "3" and extra == "cards"', "Requires-Dist: wheel-d",
    )  # fmt: skip
    install("wheel-a")
    missing = doctor._find_package("gpu", "engine[cards]")
    assert (missing.works, missing.words) == (False, "not installed; pip install 'klsearch[gpu]'")
    install("wheel-c")
    assert doctor._find_package("gpu", "engine[cards]").words == "engine[cards] 1.5"


H200 = InstalledCard(index="0", uuid="GPU-5a", name="NVIDIA H200", driver="570.12", memory=1 << 37, free=1 << 37)
SEEN = doctor.SeenDevices(devices=["CPU:0"], cards=[], memory=None, as_needed=True, has_cuda=True)


@pytest.mark.parametrize(
    ("seen", "installed", "visible", "words"),
    [
        (SEEN, [], None, "CPU:0"),
        (
            replace(SEEN, devices=["CPU:0", "GPU:0"], cards=["NVIDIA H200"], memory=138_500_000_000),
            [H200],
            None,
            "CPU:0, GPU:0; trains on NVIDIA H200, 138.5 GB of it, taken as they are needed",
        ),
        (
            replace(SEEN, devices=["CPU:0", "GPU:0"], cards=["NVIDIA H200"], memory=10**9, as_needed=False),
            [H200],
            "0",
            "CPU:0, GPU:0; trains on NVIDIA H200, 1.0 GB of it, taken all at once",
        ),
        (SEEN, [H200], "-1", "CPU:0; CUDA_VISIBLE_DEVICES='-1' hides NVIDIA H200: unset it to train there"),
        (
            replace(SEEN, has_cuda=False),
            [H200],
            None,
            "CPU:0; NVIDIA H200 is there, but TensorFlow does not use it: it is built without CUDA; on Linux, "
            "pip install --force-reinstall 'klsearch[gpu]'",
        ),
    ],
)
def test_the_device_that_trains_is_named_or_why_a_card_does_not(
    seen: doctor.SeenDevices, installed: list[InstalledCard], visible: str | None, words: str
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert doctor.devices_words(seen, installed, environment) == words


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["nvidia-cudnn-cu12"], ": CUDA's libraries are missing; pip install 'klsearch[gpu]'"),
        ([], ", though CUDA's libraries are installed; is driver 570.12 too old for them?"),
    ],
)
def test_a_card_for_which_something_is_missing_comes_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], words: str
) -> None:
    monkeypatch.setattr(doctor, "find_missing", lambda package, extra: missing)
    told = doctor.devices_words(SEEN, [H200], {})
    assert told == f"CPU:0; NVIDIA H200 is there, but TensorFlow does not use it{words}"


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_driver_without_cuda_s_libraries_is_told_with_what_installs_them(
    klsearch: Klsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find_missing("tensorflow", "and-cuda"):
        pytest.skip("klsearch[gpu] is installed")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-5a, NVIDIA H200, 570.12, 143771, 143000'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (
        "CPU:0; NVIDIA H200 is there, but TensorFlow does not use it: CUDA's libraries are missing; pip install "
        "'klsearch[gpu]'"
    ) in klsearch("doctor").out
