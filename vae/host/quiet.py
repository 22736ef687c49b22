"""Loading TensorFlow without its start-up lines on the user's terminal, and users' code without spoiling results."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

# Its C code writes past every setting of its log until it has set that up.
_START_UP = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d [\d:.]+ [IWE] |WARNING: All log messages before absl|To enable the following instr"
)


def require_tensorflow_backend() -> None:
    """Have Keras, where it is not loaded yet, load with TensorFlow behind it, for which all of this is written.

    Raises:
        ImportError: Keras is loaded with another backend, or the environment asks for another.
    """
    if "keras" in sys.modules:
        asked, way_out = sys.modules["keras"].config.backend(), "set KERAS_BACKEND=tensorflow before Keras is loaded"
    else:  # the environment decides over Keras's own file
        asked, way_out = os.environ.setdefault("KERAS_BACKEND", "tensorflow"), "set KERAS_BACKEND=tensorflow"
    if asked != "tensorflow":
        raise ImportError(f"Keras is set to {asked!r}, and klsearch trains with TensorFlow alone; {way_out}.")


@contextmanager
def hide_start_up_lines() -> Iterator[None]:
    """A block in which TensorFlow may be loaded; what else is written to standard error is shown when it ends.

    If the block fails, all of it is shown.
    """
    # Read when the library is loaded; who has loaded it already keeps the environment that it was loaded in.
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        hidden = _START_UP
        try:
            yield
        except KeyboardInterrupt:  # which is no failure of what is loaded
            raise
        except BaseException:
            hidden = re.compile(rb"(?!)")
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            aside.seek(0)
            os.write(terminal, b"".join(line for line in aside if not hidden.match(line)))
            os.close(terminal)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """A block of others' code, whose output, from C as well, goes where it does not mix with our results.

    Another working folder ends with the block, and so does a copy of this process that the code made (fork): it would
    go on as if it were the command.
    """
    process, folder = os.getpid(), os.getcwd()
    kept = _turn_to_stderr()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        _turn_back(kept)
        os.chdir(folder)


_results: TextIO | None = None  # while they go apart


def results_apart_to() -> TextIO | None:
    """Where results are written to within `results_apart`; None outside, where that is standard output."""
    return _results


@contextmanager
def results_apart(*, for_good: bool) -> Iterator[None]:
    """A block in which results alone reach standard output; what else is written there, from C as well, is diverted.

    It goes to standard error.

    Args:
        for_good: it does so after the block, too, when threads and exit handlers of others' code may still write: for
            a process that is about to end.
    """
    global _results
    process, out, before = os.getpid(), sys.stdout, _results
    kept = _turn_to_stderr()
    if kept is None:
        yield
        return
    own = open(os.dup(kept), "w", encoding=out.encoding, errors=out.errors) if _writes_to_1(out) else None
    _results, sys.stdout = own or out, sys.stderr
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        if own is not None:
            with suppress(OSError):  # nobody reads it any more
                own.close()
        _results = before
        if for_good:
            os.close(kept)
        else:
            sys.stdout = out
            _turn_back(kept)


def _turn_to_stderr() -> int | None:
    """Have standard output go to standard error; a descriptor of where it went, for `_turn_back`.

    None where one of them is closed: their descriptors may be those of any file by now.
    """
    if sys.stdout is None or sys.stderr is None:
        return None
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _turn_back(kept: int | None) -> None:
    """Have standard output go again where it went, but for what others wrote and Python has not passed on yet."""
    if kept is None:
        return
    if sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # which they may have closed
            sys.__stdout__.flush()
    os.dup2(kept, 1)
    os.close(kept)


def _writes_to_1(stream: TextIO) -> bool:
    """Tell whether a stream is the process's own standard output, and none that a test or a notebook put there."""
    try:
        return stream.fileno() == 1
    except (OSError, ValueError):
        return False
