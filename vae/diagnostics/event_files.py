"""TensorBoard's event files: the scalars that a training wrote, a row for each step."""

from pathlib import Path
from typing import Any

import pandas as pd

from klsearch.vae.host.quiet import hide_start_up_lines

_VALIDATION = {"validation", "val", "valid", "eval", "test"}
_OF_EPOCHS = "epoch_"  # before each tag of Keras's callback; what it writes by steps has other prefixes
_BY_STEPS = ("batch_", "evaluation_")


class EventProblem(ValueError):
    """Event files that hold no history of one training; the message says what is there and the way out."""


def is_event_source(path: Path) -> bool:
    """Tell whether a path is an event file, or a folder, which may hold some."""
    return path.is_dir() or "tfevents" in path.name


def read_events(path: Path) -> pd.DataFrame:
    """The scalars of one training: its steps, and a column for each tag; None where a step has no value.

    The steps are "epoch" where Keras's callback wrote them, else "step": what they count nobody says. Tags of a folder
    called "validation" have that before them.

    Args:
        path: an event file, or a folder with those of one training, as Keras's `TensorBoard` callback writes them.

    Raises:
        EventProblem: there are none, or those of several trainings.
    """
    files = sorted(path.rglob("*tfevents*")) if path.is_dir() else [path]
    if not files:
        raise EventProblem(f"{path} is a folder without event files of TensorBoard; name a training's log folder.")
    trainings = {_training_of(file) for file in files}
    if len(trainings) > 1:
        listed = ", ".join(sorted(str(one) for one in trainings)[:5])
        raise EventProblem(f"{path} holds the event files of several trainings; name one of {listed}.")
    columns, steps_are = dict[str, dict[int, float]](), "step"
    with hide_start_up_lines():
        read = {file: _scalars(file) for file in files}
    for file, scalars in read.items():
        if scalars is None:
            raise EventProblem(f"{file} is not an event file of TensorBoard, or damaged.")
        split = "validation/" if file.parent.name.lower() in _VALIDATION else ""
        for step, tag, value in scalars:
            if not tag.startswith(_BY_STEPS):
                columns.setdefault(split + tag.removeprefix(_OF_EPOCHS), {})[step] = value
                steps_are = "epoch" if tag.startswith(_OF_EPOCHS) else steps_are
    if not columns:
        raise EventProblem(f"{path} holds no scalars by epoch; a history has the KL term of each.")
    steps = sorted({step for values in columns.values() for step in values})
    cells = {tag: [values.get(step) for step in steps] for tag, values in columns.items()}
    return pd.DataFrame({steps_are: steps} | cells, dtype=object)


def _training_of(file: Path) -> Path:
    folder = file.parent
    return folder.parent if folder.name.lower() in _VALIDATION | {"train", "training"} else folder


def _scalars(file: Path) -> list[tuple[int, str, float]] | None:
    """Step, tag and value of each scalar that was written whole; None where the file is damaged from the beginning."""
    import tensorflow as tf  # only these files need it
    from tensorflow.core.util import event_pb2

    found = []
    try:
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                if (number := _number(value)) is not None:
                    found.append((int(event.step), str(value.tag), number))
    except tf.errors.DataLossError:  # the last event may be half written
        return found or None
    return found


def _number(value: Any) -> float | None:
    """The number that a summary holds; None for pictures, texts and histograms."""
    import tensorflow as tf

    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor") or value.tensor.tensor_shape.dim:
        return None
    if not tf.dtypes.as_dtype(value.tensor.dtype).is_floating:
        return None
    return float(tf.make_ndarray(value.tensor))
