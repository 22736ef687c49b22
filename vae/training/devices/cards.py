"""Cards (GPUs) as TensorFlow sees them: their names, their memory, and whether their operations repeat to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import tensorflow as tf
from tensorflow.python.client import device_lib
from tensorflow.python.framework import config

from klsearch.vae.training.devices.driver import PROCESSOR


def count_cards() -> int:
    """The number of cards that this process may train on; it trains on the first."""
    return len(tf.config.list_physical_devices("GPU"))


def card_names() -> list[str]:
    """The cards' types, as they call themselves."""
    details = tf.config.experimental.get_device_details
    return [str(details(card).get("device_name", card.name)) for card in tf.config.list_physical_devices("GPU")]


def card_memory() -> int | None:
    """Bytes of the first card's memory that TensorFlow may still take; None where there is no card."""
    if not count_cards():
        return None
    tf.config.list_logical_devices()  # which makes them with their own settings, before they are looked at
    options = tf.compat.v1.ConfigProto()
    options.gpu_options.allow_growth = True  # else looking at a card takes all of its memory
    cards = [device for device in device_lib.list_local_devices(options) if device.device_type == "GPU"]
    return int(cards[0].memory_limit) if cards else 0


def take_memory_as_needed() -> None:
    """Have cards lend their memory bit by bit: others may work on them too. To no effect once they are used."""
    for card in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(card, True)


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """A block in which a card's operations have the same bits each time; a processor's have them anyway.

    TensorFlow's setting is the whole process's, and is as it was after the block: with it, random operations of a
    host's that have no seed would fail.

    Args:
        wanted: False to leave them as they are.
    """
    before = config.is_op_determinism_enabled()
    if not (wanted and count_cards()) or before:
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()


def device_words() -> str:
    """What this process trains on, and whether that repeats to the bit: of the provenance of a result."""
    names = card_names()
    if not names:
        return PROCESSOR
    repeats = config.is_op_determinism_enabled()
    return f"{names[0]}, {'' if repeats else 'not '}deterministic"
