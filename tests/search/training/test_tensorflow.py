"""Loading TensorFlow, in a process that has not yet."""

import subprocess
import sys

_LOAD_TWICE = """
import gc
from klsearch.search.training.tensorflow import load_tensorflow
load_tensorflow()
first = gc.get_freeze_count()
load_tensorflow()
print(gc.isenabled(), first > 100_000, gc.get_freeze_count() == first)
"""


def test_the_garbage_collector_passes_over_tensorflow_and_nothing_that_comes_later(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_TWICE], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("True True True\n", "")
