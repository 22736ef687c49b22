"""What reaches the terminal while TensorFlow is loaded."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from klsearch.vae.host.quiet import hide_start_up_lines, results_apart, results_apart_to, stdout_to_stderr

LOADING = """
import sys
from klsearch.vae.host.quiet import hide_start_up_lines
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
from klsearch.vae.host.quiet import stdout_to_stderr
with stdout_to_stderr():
    os.chdir("/")
    os.fork()
print(os.getcwd())
"""


def test_code_of_others_changes_no_folder_and_makes_no_second_command(tmp_path: Path) -> None:
    called = subprocess.run([sys.executable, "-c", OTHERS], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (called.stdout, called.stderr) == (f"{tmp_path}\n", "")


WRITING = """
import atexit, os, subprocess, sys, threading, time
from klsearch.vae.host.quiet import results_apart, results_apart_to, stdout_to_stderr

def write_everywhere():
    print("print")
    sys.__stdout__.write("held back")
    os.write(1, b"descriptor")
    subprocess.run(["echo", "process"])

def go_on():
    while True:
        os.write(1, b"thread")
        time.sleep(0.001)

with results_apart(for_good=True):
    threading.Thread(target=go_on, daemon=True).start()
    atexit.register(write_everywhere)
    write_everywhere()
    with stdout_to_stderr():
        write_everywhere()
    print("the result", file=results_apart_to(), flush=True)
    write_everywhere()
write_everywhere()
"""


def test_results_that_go_apart_are_all_that_standard_output_gets_whoever_writes_and_when() -> None:
    called = subprocess.run([sys.executable, "-c", WRITING], capture_output=True, text=True, check=True)
    assert called.stdout == "the result\n"
    assert [called.stderr.count(word) for word in ("print", "held back", "descriptor", "process")] == [5] * 4


def test_where_results_go_apart_within_a_process_that_lives_on_all_is_as_before_in_the_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    kept, before = io.StringIO(), sys.stdout
    with redirect_stdout(kept), results_apart(for_good=False):
        print("result", file=results_apart_to())
        with results_apart(for_good=False):
            print("result of one within", file=results_apart_to())
        with stdout_to_stderr():
            os.write(1, b"inner ")
        os.write(1, b"outer ")
        print("printed")
    os.write(1, b"as before")
    assert (sys.stdout, results_apart_to()) == (before, None)
    assert kept.getvalue() == "result\n"
    assert capfd.readouterr() == ("as before", "result of one within\ninner outer printed\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_others_code_runs_where_an_output_is_closed(closed: str, tmp_path: Path) -> None:
    code = """if True:
    import os
    from klsearch.vae.host.quiet import results_apart, stdout_to_stderr
    with results_apart(for_good=True), stdout_to_stderr():
        print("anything")
        open("done", "w").write("done")
    """
    subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], cwd=tmp_path, check=True)
    assert (tmp_path / "done").read_text() == "done"
