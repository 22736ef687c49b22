"""The threads that run compiled programs side by side."""

from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context

from klsearch.vae.host.machine import usable_cores
from klsearch.vae.training.devices.cards import count_cards


def side_by_side() -> int:
    """The number of shards that this process trains at a time: a processor's threads one each, a card one in all."""
    if count_cards():
        return 1
    return tf.config.threading.get_inter_op_parallelism_threads() or usable_cores()


def threads(count: int) -> ThreadPoolExecutor:
    """So many threads, which may run one program at the same time."""
    return ThreadPoolExecutor(count, thread_name_prefix="shard", initializer=_forgo_memory_optimizer)


def _forgo_memory_optimizer() -> None:
    """Keep this thread's programs as they are, however much memory TensorFlow expects them to take.

    From 205 MB on it would add some tensors up in temporary variables, which have one name in all threads: the second
    thread to create one fails (tensorflow#23780). No public setting says so of functions.
    """
    config = context.context().config
    config.allow_soft_placement = True  # as for every function
    config.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
    context.context().function_call_options = context.FunctionCallOptions(config_proto=config)
