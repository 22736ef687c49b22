"""Loading TensorFlow, with the threads that it is to use."""

from contextlib import suppress

import joblib

from vae.quiet import start_up_lines_hidden


def load_tensorflow(threads: int | None = None, *, members: int | None = None) -> None:
    """Import TensorFlow; its notes about devices and instruction sets are shown only if the import fails.

    Args:
        threads: how many it may use at a time; None for one on each core.
        members: the most that will be trained at a time; None for more than there are threads. Threads that would be
            left over share the work within an operation.
    """
    with start_up_lines_hidden():
        import tensorflow as tf

        threads = threads or joblib.cpu_count()
        with suppress(RuntimeError):  # a process that computes already keeps the threads that it has
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // (members or threads)))
        # Its notes come with the first look at the devices.
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)  # others may work on it too
    tf.get_logger().setLevel("ERROR")  # which operations vectorized_map turns into loops is known
