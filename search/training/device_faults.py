"""What a device cannot do: memory that is too small, so that fewer members train in one program; and in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from klsearch.studies.errors import KlsearchError
from klsearch.vae.training.devices.cards import card_names
from klsearch.vae.training.population import Population

MEMORY_ENDED = tf.errors.ResourceExhaustedError
"""What TensorFlow raises when a program asks for more memory than there is."""


_WAY_OUT = (
    "Everything that was trained is kept. Free memory and give the same command again, or start a new study with fewer "
    "--slots, a smaller training.batch_size, fewer data.rows or a smaller model."
)


class OutOfMemory(KlsearchError):
    """As few members as can be, trained together, still take more memory than there is."""


@contextmanager
def tell_device_faults() -> Iterator[None]:
    """A block of work on a device, whose faults are told in one line with the way out.

    Raises:
        OutOfMemory: memory is too small for what nothing makes smaller.
        KlsearchError: a card can do something only so that its bits differ from time to time.
    """
    try:
        yield
    except tf.errors.UnimplementedError as error:
        if "deterministic" not in error.message.lower():
            raise
        reason = error.message.strip().splitlines()[0]
        raise KlsearchError(
            f"{_where()} cannot train this model to the same bits each time ({reason}). Set training.deterministic = "
            "false in the definition, for a study whose trials cannot be reproduced to the bit."
        ) from error
    except MEMORY_ENDED as error:
        raise OutOfMemory(f"The data and the models do not fit into the memory of {_where()}. {_WAY_OUT}") from error


def make_room(population: Population, *, say: Callable[[str], None]) -> None:
    """Have a population, whose slots are empty afterwards, train fewer members together, which is said in one line.

    The slots stay as many, so that the study takes the same course.

    Raises:
        OutOfMemory: no fewer can train together.
    """
    before, where = population.together, _where()
    if not population.train_fewer_together():
        several = f"{before} models at a time do" if before > 1 else "One model does"
        raise OutOfMemory(f"{several} not fit into the memory of {where}. {_WAY_OUT}")
    say(
        f"warning: {before} trials in one program do not fit into the memory of {where}; from now on "
        f"{population.together} train in one, one program after the other. Nothing is lost, and results stay the same."
    )


def _where() -> str:
    return next(iter(card_names()), "this machine")
