"""What drawing loads."""

import subprocess
import sys


def test_importing_the_room_loads_no_pandas_and_drawing_loads_no_pyplot() -> None:
    code = (
        "import sys, reports; assert 'pandas' not in sys.modules; import reports.report; "
        "print([name for name in ('matplotlib.pyplot', 'tensorflow', 'keras', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
