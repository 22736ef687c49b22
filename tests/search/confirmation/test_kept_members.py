"""Confirmed members, kept until it is known whom the test split is to score."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.storage.rows import Run
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters

RUN = Run(hyperparameters=Hyperparameters(kl_weight=0.5), seed=3, label="trial 7")


def member() -> Members:
    rng = np.random.default_rng(0)
    return Members(
        weights=[tf.constant(rng.standard_normal((1, 3, 2), np.float32)) for _ in range(12)],
        others=[tf.constant([[1, 2]], tf.uint32)],
        clip_low=np.array([-np.inf], np.float32),
        clip_high=np.array([2.0], np.float32),
    )


def test_the_next_process_finds_a_member_as_it_was(tmp_path: Path) -> None:
    KeptMembers(tmp_path / "confirmed", "f", say=pytest.fail).keep(RUN, member())
    found, kept = KeptMembers(tmp_path / "confirmed", "f", say=pytest.fail).find(RUN), member()
    assert found is not None
    for now, before in zip([*found.weights, *found.others], [*kept.weights, *kept.others], strict=True):
        assert now.dtype == before.dtype
        np.testing.assert_array_equal(now.numpy(), before.numpy(), strict=True)
    np.testing.assert_array_equal(found.clip_low, kept.clip_low, strict=True)
    np.testing.assert_array_equal(found.clip_high, kept.clip_high, strict=True)


def test_members_that_lie_in_files_take_no_memory(tmp_path: Path) -> None:
    kept = KeptMembers(tmp_path, "f", say=pytest.fail)
    kept.keep(RUN, member())
    assert kept.find(RUN) is not None
    assert kept.find(RUN) is not kept.find(RUN), "each is read from the file"


@pytest.mark.parametrize(
    ("fingerprint", "run"),
    [
        ("another", RUN),
        ("f", Run(hyperparameters=RUN.hyperparameters, seed=4, label="trial 7")),
        ("f", Run(hyperparameters=RUN.hyperparameters, seed=3, label="trial 7", method="sigma")),
    ],
)
def test_what_was_trained_otherwise_is_another_member(tmp_path: Path, fingerprint: str, run: Run) -> None:
    KeptMembers(tmp_path, "f", say=pytest.fail).keep(RUN, member())
    assert KeptMembers(tmp_path, fingerprint, say=pytest.fail).find(run) is None


def test_a_file_that_is_damaged_is_set_aside_with_one_line_and_holds_no_member(tmp_path: Path) -> None:
    KeptMembers(tmp_path, "f", say=pytest.fail).keep(RUN, member())
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(0, len(whole), 7)]
    for damaged in (whole[: len(whole) // 2], b"", *flipped):
        file.write_bytes(damaged)
        said: list[str] = []
        kept = KeptMembers(tmp_path, "f", say=said.append)
        assert kept.find(RUN) is None and kept.find(RUN) is None
        (line,) = said
        assert line.endswith(f"it was set aside as {file.name}.damaged; its model is trained again.")


def test_a_full_disk_costs_a_warning_and_no_member(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    said: list[str] = []
    kept = KeptMembers(tmp_path, "f", say=said.append)
    with full_disk(100):
        kept.keep(RUN, member())
        kept.keep(Run(hyperparameters=RUN.hyperparameters, seed=4, label="trial 7"), member())
    assert kept.find(RUN) is not None
    assert len(said) == 1
    assert "could not be kept" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_confirmation_that_is_over(tmp_path: Path) -> None:
    kept = KeptMembers(tmp_path / "confirmed", "f", say=pytest.fail)
    kept.remove_files()
    kept.keep(RUN, member())
    kept.remove_files()
    assert list(tmp_path.iterdir()) == []
