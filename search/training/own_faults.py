"""What a layer of the user's own raises from within the training program, in words."""

import re
import sysconfig
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from klsearch.studies.definitions.sections import ModelSection
from klsearch.studies.errors import KlsearchError

_NOT_THEIRS = (  # but the machine's
    tf.errors.ResourceExhaustedError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.DataLossError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)
_OURS = Path(__file__).parents[2]
_STANDARD = Path(sysconfig.get_path("stdlib"))
_PLACE = re.compile(r'^ *File "(.+?)", line (\d+)', re.MULTILINE)
_NODE = re.compile(r"\s*\[\[\{\{node .*", re.DOTALL)
_CHECK = re.compile(r"\{\{node \S*\b(Assert|CheckNumerics)")
_LONGEST = 300  # characters of what was raised


@contextmanager
def tell_own_faults(model: ModelSection, *, goes_on: bool = True) -> Iterator[None]:
    """A block that trains, in which TensorFlow's errors are told in one line where the model is the user's own.

    Args:
        model: what is trained.
        goes_on: whether the same command goes on where it stood.

    Raises:
        KlsearchError: a layer raised something, or was given what it cannot take.
    """
    try:
        yield
    except _NOT_THEIRS:
        raise
    except tf.errors.OpError as error:
        if not model.is_own:
            raise
        raise KlsearchError(f"model.kind: {model.kind}: {_told(error.message, goes_on=goes_on)}") from error


def _told(message: str, *, goes_on: bool) -> str:
    """What was raised, with the last line of the user's own that led to it, and the way out."""
    said = [line.strip() for line in _NODE.sub("", message).splitlines() if line.strip()]
    words = textwrap.shorten(said[-1] if said else "an error without words", _LONGEST, placeholder=" …")
    places = [f"{file}:{line}" for file, line in _PLACE.findall(message) if _is_theirs(Path(file))]
    check = (
        "A check in a layer ends the whole study, where a trial whose numbers run away otherwise counts as diverged: "
        "take it out for the search. "
        if _CHECK.search(message)
        else ""
    )
    mend = "mend the layer and give the same command again"
    way_out = f"What was trained is kept: {mend}, and the trial goes on." if goes_on else f"{mend.capitalize()}."
    return f"training it raised {words}{f' ({places[-1]})' if places else ''}. {check}{way_out}"


def _is_theirs(file: Path) -> bool:
    """Whether a file is of the user's own: neither installed nor ours, nor Python's."""
    installed = "site-packages" in file.parts or file.is_relative_to(_STANDARD)
    return file.is_absolute() and not installed and not file.is_relative_to(_OURS)
