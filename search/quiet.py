"""Loading TensorFlow without its start-up lines on the user's terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import joblib


@contextmanager
def _standard_error_aside() -> Iterator[None]:
    """Collect what is written to file descriptor 2, by C code too; give it back if the block fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(terminal, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def load_tensorflow(threads: int | None = None, *, members: int | None = None) -> None:
    """Import TensorFlow; its notes about devices and instruction sets are shown only if the import fails.

    Args:
        threads: how many it may use at a time; None for one on each core.
        members: the most that will be trained at a time; None for more than there are threads. Threads that would be
            left over share the work within an operation.
    """
    # Read when the library is loaded; worker processes inherit them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _standard_error_aside():
        import tensorflow as tf

        threads = threads or joblib.cpu_count()
        with suppress(RuntimeError):  # a process that computes already keeps the threads that it has
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // (members or threads)))
        # Its notes come with the first look at the devices.
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)  # others may work on it too
    tf.get_logger().setLevel("ERROR")  # which operations vectorized_map turns into loops is known
