"""Histories in TensorBoard's event files, written by TensorFlow."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import summary_pb2
from tensorflow.core.util import event_pb2

from klsearch.vae.diagnostics.event_files import EventProblem, read_events
from klsearch.vae.diagnostics.histories import HistoryProblem, read_history


def write_events(folder: Path, columns: Mapping[str, Sequence[float]]) -> Path:
    """Scalars by tag and step, as Keras's callback and `tf.summary.scalar` write them; the file."""
    kind = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars"))
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        tf.summary.write("keras", tf.constant("{}"), step=0)
        for tag, values in columns.items():
            for step, value in enumerate(values):
                tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=kind)
    writer.close()
    (file,) = folder.glob("*tfevents*")
    return file


def test_the_log_folder_of_keras_is_one_history_with_validation(tmp_path: Path) -> None:
    write_events(tmp_path / "train", {"epoch_loss": [9, 7, 6], "epoch_kl_loss": [1, 2, 3], "batch_loss": [5] * 50})
    write_events(
        tmp_path / "validation",
        {"epoch_kl_loss": [1.5, 2.5, 3.5], "epoch_loss": [8, 7, 6], "evaluation_loss_vs_iterations": [4] * 50},
    )
    frame = read_events(tmp_path)
    assert frame.columns.tolist() == ["epoch", "loss", "kl_loss", "validation/kl_loss", "validation/loss"]
    assert frame["epoch"].tolist() == [0, 1, 2]
    history = read_history(tmp_path)
    assert history.kl.tolist() == [1.5, 2.5, 3.5], "of validation rows, as of any history that has them"
    assert history.columns["loss"] == "loss"


def test_nothing_of_tensorflow_s_own_log_is_shown(tmp_path: Path) -> None:
    write_events(tmp_path / "train", {"epoch_kl_loss": [1, 2, 3]})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "events.out.tfevents.2").write_bytes(b"no records" * 20)
    for folder in ("train", "damaged"):
        code = f"from klsearch.search.cli import main; main(['diagnose', {str(tmp_path / folder)!r}])"
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert [line for line in ended.stderr.splitlines() if not line.startswith("klsearch: ")] == []


def test_a_loop_of_one_s_own_writes_one_file(tmp_path: Path) -> None:
    file = write_events(tmp_path, {"kl": [1, np.nan, 3], "reconstruction": [9, 8, 7], "beta": [0, 0.5, 1]})
    history = read_history(file)
    assert history.reconstruction is not None and history.kl_weight is not None
    assert history.kl_weight.tolist() == [0, 0.5, 1]
    assert history.notes == ("No column says the epoch: a row was taken for one.",)
    assert history.nonfinite_epochs == 1


def test_numbers_of_tensorflow_1_and_a_half_written_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for step in range(3):
            value = summary_pb2.Summary.Value(tag="kl", simple_value=step / 2)
            event = event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[value]))
            writer.write(event.SerializeToString())
    path.write_bytes(path.read_bytes()[:-5])
    assert read_history(path).kl.tolist() == [0.0, 0.5]


def test_a_step_without_a_value_is_empty_and_not_a_wrong_number(tmp_path: Path) -> None:
    write_events(tmp_path / "train", {"kl": [1, 2, 3, 4]})
    write_events(tmp_path / "validation", {"loss": [5, 6]})
    history = read_history(tmp_path)
    assert history.kl.tolist() == [1, 2, 3, 4]
    assert history.nonfinite_epochs == 0


def test_what_is_no_history_of_one_training_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(HistoryProblem, match="is a folder without event files"):
        read_history(tmp_path)
    for training in ("first", "second"):
        write_events(tmp_path / training / "train", {"kl": [1, 2]})
    with pytest.raises(EventProblem, match=r"of several trainings; name one of .*first, .*second"):
        read_events(tmp_path)
    damaged = tmp_path / "events.out.tfevents.2"
    damaged.write_bytes(b"no records" * 20)
    with pytest.raises(EventProblem, match="is not an event file of TensorBoard, or damaged"):
        read_events(damaged)
