"""Loading TensorFlow, with the threads that it is to use, and what else is set for a whole process.

A process of our own, the command line's or a worker's, is set up for good. Any other belongs to its host, a notebook
perhaps: it is left as it was.
"""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

from klsearch.studies.errors import UsageError
from klsearch.vae.host.machine import usable_cores
from klsearch.vae.host.quiet import hide_start_up_lines, require_tensorflow_backend

# Keras loads them, and scikit-learn with them, for parts of itself that training does not use.
_LOADED_IF_USED = ("keras.wrappers", "matplotlib.pyplot")

_ours = False


def take_this_process() -> None:
    """Say that this process is ours: the command line's or a worker's, whose settings nobody else relies on."""
    global _ours
    _ours = True
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever other programs of the user's are set to


def load_tensorflow(threads: int | None = None, *, within: int = 1) -> None:
    """Import TensorFlow; its notes about devices and instruction sets are shown only if the import fails.

    Where a host has loaded it already, it is the host's, and its settings stay. Where it has not, threads and the
    memory of GPUs are set for the whole process, and TF_CPP_MIN_LOG_LEVEL and KERAS_BACKEND in its environment.

    Args:
        threads: how many operations may run at a time; None for one on each core.
        within: how many threads share the work within an operation.

    Raises:
        UsageError: Keras is set to another backend than TensorFlow.
    """
    try:
        require_tensorflow_backend()
    except ImportError as error:
        raise UsageError(str(error)) from error
    if "tensorflow" in sys.modules and not _ours:
        return
    with hide_start_up_lines(), _pause_collection(), _put_off_modules():
        import tensorflow as tf

        with suppress(RuntimeError):  # a process that computes already keeps the threads that it has
            tf.config.threading.set_inter_op_parallelism_threads(threads or usable_cores())
            tf.config.threading.set_intra_op_parallelism_threads(within)
        from klsearch.vae.training.devices.cards import take_memory_as_needed

        take_memory_as_needed()  # its notes come with this first look at the devices
    if _ours:
        tf.get_logger().setLevel("ERROR")  # as `silence_loops`, for good


@contextmanager
def silence_loops() -> Iterator[None]:
    """Let TensorFlow, which is loaded, log no warnings in the block: which operations it turns into loops is known."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _pause_collection() -> Iterator[None]:
    """Load TensorFlow in the block, whose objects the garbage collector of our own process then passes over for good.

    They live as long as the process. Walking through them takes half a second in all while they are made, and one more
    when the process ends. A host's other objects would be passed over with them.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        if _ours:
            gc.freeze()
    finally:
        gc.enable()


class _PutOff(MetaPathFinder):
    """Finds modules that then load when something of theirs is first asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in _LOADED_IF_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _put_off_modules() -> Iterator[None]:
    """Load TensorFlow in the block, in a process of our own without what training does not use: a second less."""
    if not _ours:
        yield
        return
    finder = _PutOff()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def threads_left_over(members: int) -> int:
    """The number of threads that may share an operation's work where at most so many members train at a time."""
    return max(1, usable_cores() // members)


def threads_within() -> int:
    """The number of threads that share an operation's work in this process, which has loaded TensorFlow."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads() or usable_cores())
