"""Loading TensorFlow without its start-up lines on the user's terminal, and users' code without spoiling results."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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
    sys.stdout.flush()
    kept, process, folder = os.dup(1), os.getpid(), os.getcwd()
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        os.dup2(kept, 1)
        os.close(kept)
        os.chdir(folder)
