"""What the package offers to programs: small, listed, documented, and quick to import."""

import subprocess
import sys
from pathlib import Path

import pytest

import klsearch


def test_every_public_name_is_listed_in_order_can_be_had_and_is_documented() -> None:
    assert klsearch.__all__ == sorted(klsearch.__all__)
    assert [name for name in klsearch.__all__ if not getattr(klsearch, name).__doc__] == []


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="No klsearch attribute nothing"):
        _ = klsearch.nothing  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("keras", "matplotlib", "optuna", "pandas", "pydantic", "tensorflow")
    code = f"import klsearch, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rooms_are_to_be_had_under_the_package_alone(tmp_path: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('vae','studies','reports','search') if u.find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
