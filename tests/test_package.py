"""What is installed is `klsearch` alone: names that users give their own files stay theirs."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from klsearch.studies.definitions.catalog import template

pytestmark = pytest.mark.slow("builds the package and starts processes that load it")

ROOT = Path(__file__).parents[1]
ROOMS = ("vae", "studies", "reports", "search")


def run_installed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a folder of the user's; it must succeed."""
    command = [str(Path(sys.executable).with_name("klsearch")), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def name_as_ours(folder: Path, room: str, *, regular: bool) -> None:
    """A package named like one of our rooms: rows to search on, and a module of the user's own beside them."""
    package = folder / room
    package.mkdir()
    if regular:
        (package / "__init__.py").touch()
    (package / "sizes.py").write_text("ROWS = 300\n")
    (package / "mine.py").write_text(
        f"import numpy as np\n"
        f"from {room}.sizes import ROWS\n"
        f"def load():\n"
        f"    return np.random.default_rng(0).normal(size=(ROWS, 7))\n"
    )


@pytest.mark.parametrize("regular", [True, False], ids=["with __init__", "without __init__"])
@pytest.mark.parametrize("room", ROOMS)
def test_a_package_named_like_a_room_of_ours_is_the_user_s_beside_a_definition_and_where_they_work(
    tmp_path: Path, room: str, regular: bool
) -> None:
    (tmp_path / "definitions").mkdir()
    (tmp_path / "elsewhere").mkdir()
    name_as_ours(tmp_path / "definitions", room, regular=regular)
    definition = tmp_path / "definitions" / "mine.toml"
    definition.write_text(template().replace('source = "digits"', f'source = "{room}.mine:load"'))
    for folder in ("definitions", "elsewhere"):
        found = json.loads(run_installed(tmp_path / folder, "check", str(definition), "--json").stdout)
        assert sum(found["rows"].values()) == 300


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_named_like_a_room_of_ours_in_the_working_folder_is_never_loaded(tmp_path: Path, room: str) -> None:
    (tmp_path / f"{room}.py").write_text("raise RuntimeError('the user's own')\n")
    assert "digits" in run_installed(tmp_path, "list").stdout


def test_a_program_of_the_user_s_finds_its_own_package_and_ours(tmp_path: Path) -> None:
    name_as_ours(tmp_path, "vae", regular=True)
    code = "import klsearch as kl, klsearch.vae.hyperparameters, vae.mine; print(vae.mine.load().shape, kl.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["(300,", "7)", "klsearch"], done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, which is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def shipped() -> Iterator[str]:
    """Every file of ours that a user needs, as it is named in the package."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.suffix in {".py", ".toml", ".j2", ".css", ".js"} and "__pycache__" not in path.parts:
                yield f"klsearch/{path.relative_to(ROOT)}"


def test_the_wheel_holds_the_package_with_all_of_its_rooms_and_nothing_beside(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(shipped()) <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"klsearch"}


def test_the_sdist_holds_the_rooms_as_folders_not_as_links_to_what_is_not_there(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym()]
    assert {f"src/{name}" for name in shipped()} <= {member.name.partition("/")[2] for member in members}
