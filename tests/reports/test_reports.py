"""What the room offers to the others."""

import subprocess
import sys

import pytest

import reports


def test_every_public_name_is_listed_in_order_and_can_be_had() -> None:
    assert reports.__all__ == sorted(reports.__all__)
    assert all(callable(getattr(reports, name)) for name in reports.__all__)


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reports.nothing


def test_importing_the_room_loads_no_pandas_and_drawing_loads_no_pyplot() -> None:
    code = (
        "import sys, reports; assert 'pandas' not in sys.modules; import reports.report; "
        "print([name for name in ('matplotlib.pyplot', 'tensorflow', 'keras', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
