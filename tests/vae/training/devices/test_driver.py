"""Cards as NVIDIA's driver tells of them: the driver's own program is played by a script."""

import sys
from pathlib import Path

import pytest

from klsearch.vae.training.devices.driver import (
    InstalledCard,
    cards_of_workers,
    installed_cards,
    visible_cards,
)

TWO = "0, GPU-5ad1, NVIDIA H200, 570.12, 143771, 143000\n1, GPU-77c0, NVIDIA L4, 570.12, 23034, [N/A]\n"
H200 = InstalledCard(
    index="0", uuid="GPU-5ad1", name="NVIDIA H200", driver="570.12", memory=143771 << 20, free=143000 << 20
)
L4 = InstalledCard(index="1", uuid="GPU-77c0", name="NVIDIA L4", driver="570.12", memory=23034 << 20, free=None)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a program that is found as nvidia-smi once a test has written it, and no other is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def write(program: Path, *, tells: str = "", code: int = 0) -> None:
    """A program that gives a table if it is asked for the right one, and ends with a code."""
    asked = "--query-gpu=index,uuid,name,driver_version,memory.total,memory.free"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1:] == [{asked!r}, '--format=csv,noheader,nounits']\n"
        f"print({tells!r}, end='')\nsys.exit({code})\n"
    )
    program.chmod(0o755)


def test_the_driver_s_cards_are_told_with_their_memory_as_far_as_it_tells(driver: Path) -> None:
    write(driver, tells=TWO)
    assert installed_cards() == [H200, L4]


@pytest.mark.parametrize(("tells", "code"), [("", 0), ("No devices were found\n", 0), (TWO, 9), ("NVIDIA-SMI has", 9)])
def test_a_driver_that_finds_none_or_fails_tells_of_none(driver: Path, tells: str, code: int) -> None:
    write(driver, tells=tells, code=code)
    assert installed_cards() == []


def test_without_a_driver_there_is_none(driver: Path) -> None:
    assert installed_cards() == []
    driver.write_text("this is no program")
    driver.chmod(0o755)
    assert installed_cards() == []


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, [H200, L4]),
        ("0,1", [H200, L4]),
        ("1, 0", [L4, H200]),
        ("1", [L4]),
        ("GPU-77", [L4]),
        ("", []),
        ("-1", []),
        ("1,-1,0", [L4]),
        ("1,7,0", [L4]),
        ("MIG-1", []),
    ],
)
def test_a_process_sees_the_cards_that_its_environment_names_up_to_the_first_that_is_none(
    visible: str | None, cards: list[InstalledCard]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_cards([H200, L4], environment) == cards


@pytest.mark.parametrize(
    ("workers", "cards", "visible", "named"),
    [
        (2, 0, None, [None, None]),
        (3, 0, "-1", [None, None, None]),
        (2, 2, None, ["0", "1"]),
        (2, 4, None, ["0", "1"]),
        (5, 2, None, ["0", "1", "0", "1", "0"]),
        (2, 2, "6, 7", ["6", "7"]),
        (3, 2, "GPU-77c0,GPU-5ad1", ["GPU-77c0", "GPU-5ad1", "GPU-77c0"]),
        (2, 1, "3,-1,4", ["3", "3"]),  # what comes after -1 is not seen
        (2, 1, "MIG-1", ["MIG-1", "MIG-1"]),
    ],
)
def test_workers_get_the_cards_that_their_starter_sees_one_after_the_other(
    workers: int, cards: int, visible: str | None, named: list[str | None]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert cards_of_workers(workers, cards, environment) == named
