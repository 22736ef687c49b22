"""What the rooms offer to programs: small, listed, documented, and quick to import."""

import subprocess
import sys
from types import ModuleType

import pytest

import reports
import search
import studies

ROOMS = [studies, reports, search]


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_listed_in_order_can_be_had_and_is_documented(room: ModuleType) -> None:
    assert room.__all__ == sorted(room.__all__)
    assert [name for name in room.__all__ if not getattr(room, name).__doc__] == []


@pytest.mark.parametrize("room", ROOMS)
def test_an_unknown_name_is_refused_as_by_any_module(room: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = room.nothing


def test_importing_the_rooms_loads_nothing_heavy() -> None:
    heavy = ("keras", "matplotlib", "optuna", "pandas", "pydantic", "tensorflow")
    code = f"import reports, search, studies, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
