"""What reaches the terminal while TensorFlow is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from klsearch.vae.quiet import hide_start_up_lines

LOADING = """
import sys
from klsearch.vae.quiet import hide_start_up_lines
with hide_start_up_lines():
    import tensorflow as tf
    tf.config.list_physical_devices("GPU")
    print("a line of the user's own", file=sys.stderr)
    if sys.argv[1:]:
        raise SystemExit("and why it failed")
"""


def standard_error(*arguments: str) -> list[str]:
    """What a process that loads TensorFlow, as talkative as it is by default, writes to standard error."""
    talkative = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    called = subprocess.run(
        [sys.executable, "-c", LOADING, *arguments], capture_output=True, text=True, env=talkative, check=False
    )
    return called.stderr.splitlines()


@pytest.mark.slow("loads TensorFlow in a process")
def test_start_up_lines_are_hidden_and_others_shown() -> None:
    assert standard_error() == ["a line of the user's own"]


@pytest.mark.slow("loads TensorFlow in a process")
def test_all_of_them_are_shown_where_loading_fails() -> None:
    shown = standard_error("fail")
    assert shown[-2:] == ["a line of the user's own", "and why it failed"]


def test_a_program_that_has_loaded_tensorflow_keeps_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    for name in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with hide_start_up_lines():
        pass
    assert dict(os.environ) == before


OTHERS = """
import os, sys
from klsearch.vae.quiet import stdout_to_stderr
with stdout_to_stderr():
    os.chdir("/")
    os.fork()
print(os.getcwd())
"""


def test_code_of_others_changes_no_folder_and_makes_no_second_command(tmp_path: Path) -> None:
    called = subprocess.run([sys.executable, "-c", OTHERS], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (called.stdout, called.stderr) == (f"{tmp_path}\n", "")
