"""Checkpoints, and courses that go on from them."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from klsearch.search.stopping import Interrupted
from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.checkpoint import (
    FORMAT,
    Checkpoint,
    Course,
    UnreadableCheckpoint,
    claim_course,
    remove_left_courses,
)
from klsearch.search.training.sealed import DamagedFile
from klsearch.search.training.trainer import Saving
from klsearch.studies.errors import StudyConflict
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.training.plan import Clock
from klsearch.vae.training.snapshot import MemberState, Snapshot

if TYPE_CHECKING:
    from tests.search.conftest import Workshop


DEAD = replace(this_process(), started="1")
BROKEN = Run(hyperparameters=Hyperparameters(kl_weight=0.5, learning_rate=1e30), seed=5, label="search")


def member_state(epoch: int = 3, batch: int = 2, seed: int = 0) -> MemberState:
    rng = np.random.default_rng(seed)
    return MemberState(
        clock=Clock(hyperparameters=Hyperparameters(kl_weight=1 / 3), seed=123, epoch=epoch),
        seconds=0.1,
        curves=rng.random((epoch, 10), np.float32),
        steps=rng.random((batch, 4), np.float32),
        values=[rng.random((2, 3), np.float32), np.array([seed, 7], np.uint32), np.array(np.nan, np.float32)],
    )


def checkpoint(study: str = "tiny", fingerprint: str = "f", batch: int = 2) -> Checkpoint:
    members = {0: member_state(batch=batch), 3: member_state(epoch=1, batch=batch, seed=1)}
    return Checkpoint(
        study=study,
        fingerprint=fingerprint,
        position=9,
        numbers={0: 8, 3: 9},
        snapshot=Snapshot(batch=batch, members=members),
    )


def comparable(state: MemberState) -> dict[str, Any]:
    arrays = [state.curves, state.steps, *state.values]
    return {
        "clock": state.clock,
        "seconds": state.seconds,
        "arrays": [(array.dtype, array.shape, array.tobytes()) for array in arrays],
    }


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "c.npz")
    read = Checkpoint.read(tmp_path / "c.npz")
    assert (read.study, read.fingerprint, read.position) == ("tiny", "f", 9)
    assert (dict(read.numbers), read.snapshot.batch) == ({0: 8, 3: 9}, 2)
    for slot, state in written.snapshot.members.items():
        assert comparable(read.snapshot.members[slot]) == comparable(state)


def test_a_checkpoint_of_nobody_comes_back(tmp_path: Path) -> None:
    replace(checkpoint(), numbers={}, snapshot=Snapshot(batch=0, members={})).write(tmp_path / "c.npz")
    assert Checkpoint.read(tmp_path / "c.npz").snapshot.members == {}


def flipped(path: Path) -> None:
    """One bit of the last array changed."""
    content = bytearray(path.read_bytes())
    values = np.float32(np.nan).tobytes()
    content[content.rindex(values)] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def pickled(path: Path) -> None:
    np.savez(path, about=np.array([{"format": 1}], dtype=object), allow_pickle=True)


def foreign(path: Path) -> None:
    np.savez(path, photos=np.zeros(3))


def text(path: Path) -> None:
    path.write_text("no checkpoint")


@pytest.mark.parametrize("damage", [flipped, truncated, pickled, foreign, text, Path.unlink])
def test_a_file_that_is_damaged_or_of_something_else_is_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    checkpoint().write(path)
    damage(path)
    with pytest.raises((DamagedFile, UnreadableCheckpoint), match=r"c\.npz (is damaged|cannot be read)"):
        Checkpoint.read(path)


def test_a_checkpoint_of_a_newer_klsearch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("klsearch.search.training.checkpoint.FORMAT", FORMAT + 1)
        checkpoint().write(tmp_path / "c.npz")
    with pytest.raises(UnreadableCheckpoint, match=r"was written by a newer klsearch; upgrade klsearch"):
        Checkpoint.read(tmp_path / "c.npz")


def test_on_a_full_disk_the_checkpoint_before_stays_and_training_goes_on(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    said: list[str] = []
    with claim_course(tmp_path, "f", say=said.append) as course:
        course.save(checkpoint())
        (path,) = tmp_path.glob("*.npz")
        before = path.read_bytes()
        with full_disk(1000):
            for _ in range(2):
                course.save(checkpoint(study="later"))
        assert path.read_bytes() == before
        (line,) = said
        assert "no checkpoint could be written" in line and "File too large" in line
        assert {file.suffix for file in tmp_path.iterdir()} == {".npz", ".lock"}, "nothing half written is left"
        course.save(checkpoint(study="later"))
        assert Checkpoint.read(path).study == "later"


def test_a_course_is_followed_by_one_process_at_a_time(tmp_path: Path) -> None:
    with claim_course(tmp_path, "f", say=pytest.fail) as first:
        first.save(checkpoint())
        with claim_course(tmp_path, "f", say=pytest.fail) as second:
            assert second.name != first.name
    with claim_course(tmp_path, "f", say=pytest.fail) as again:
        assert again.name == first.name
        assert again.load("tiny") is not None
        assert again.load("tiny (confirmation)") is None, "that is of other rows"


def test_nothing_is_left_of_a_course_that_came_to_its_end(tmp_path: Path) -> None:
    with claim_course(tmp_path / "checkpoint", "f", say=pytest.fail) as course:
        course.save(checkpoint())
        course.clear()
    remove_left_courses(tmp_path / "checkpoint", "f")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_killed_before_its_first_checkpoint_is_removed_and_a_living_one_s_stays(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "killed.lock").touch()
    with claim_course(folder, "f", say=pytest.fail) as course:
        remove_left_courses(folder, "f")
        assert [path.name for path in folder.iterdir()] == [f"{course.name}.lock"]
    remove_left_courses(folder, "f")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_as_they_are(tmp_path: Path) -> None:
    checkpoint(fingerprint="another study's").write(tmp_path / "theirs.npz")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with claim_course(tmp_path, "f", say=pytest.fail) as course:
        course.save(checkpoint())
        course.clear()
    remove_left_courses(tmp_path, "f")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_checkpoint_is_set_aside_with_one_line_and_a_living_process_s_is_its_own_business(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    with claim_course(tmp_path, "f", say=said.append) as course:
        course.save(checkpoint())
        (path,) = tmp_path.glob("*.npz")
        truncated(path)
        with claim_course(tmp_path, "f", say=said.append) as other:
            assert other.name != course.name
            assert other.find_stranded("tiny", 9) is None
        assert path.exists() and said == []
    with claim_course(tmp_path, "f", say=said.append) as next_one:
        assert next_one.name != course.name
    (line,) = said
    assert line == (
        f"warning: {path} is damaged or of something else; it was set aside as {path.name}.damaged; its trials are "
        "trained again from their start."
    )
    assert [file.name for file in tmp_path.iterdir()] == [f"{path.name}.damaged"]


def test_training_goes_on_from_the_start_of_its_trials_whatever_bit_of_a_real_checkpoint_is_flipped(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    said: list[str] = []
    course = Course(tmp_path, "course", "f", say=said.append)
    workshop.search(study, 4, owner=DEAD, epochs=1, saving=Saving(course=course, study="tiny"))
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    assert course.load("tiny") is not None
    places = np.random.default_rng(0).integers(len(whole) * 8, size=300).tolist()
    for place in [0, 1, *places, len(whole) * 8 - 1]:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        assert course.load("tiny") is None, f"bit {place}"
    assert len(said) == len(places) + 3
    workshop.search(study, 4, saving=Saving(course=course, study="tiny"))
    assert [row.state for row in study.rows()] == [TrialState.COMPLETE] * 4


def test_a_member_that_was_left_between_epochs_can_be_taken_in_elsewhere(tmp_path: Path) -> None:
    checkpoint(batch=0).write(tmp_path / "dead.npz")
    checkpoint(batch=2, study="other").write(tmp_path / "middle.npz")
    course = Course(tmp_path, "another", "f", say=pytest.fail)
    found = course.find_stranded("tiny", 9)
    assert found is not None
    assert comparable(found) == comparable(member_state(epoch=1, batch=0, seed=1))
    assert course.find_stranded("tiny", 7) is None
    assert course.find_stranded("other", 9) is None, "it stood in the middle of an epoch"


def test_a_member_of_a_deleted_study_of_the_same_name_is_not_taken_in(tmp_path: Path) -> None:
    checkpoint(batch=0, fingerprint="deleted").write(tmp_path / "dead.npz")
    assert Course(tmp_path, "another", "f", say=pytest.fail).find_stranded("tiny", 9) is None


def test_a_checkpoint_of_another_network_is_refused_and_kept(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    course = Course(tmp_path, "course", "f", say=pytest.fail)
    study.create_row(BROKEN, DEAD, course="course")
    replace(checkpoint(batch=0), position=0, numbers={0: 0, 3: 9}).write(tmp_path / "course.npz")
    before = (tmp_path / "course.npz").read_bytes()
    with pytest.raises(StudyConflict, match="the model is no longer the one whose training was saved"):
        workshop.search(study, 4, saving=Saving(course=course, study="tiny"))
    assert (tmp_path / "course.npz").read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from klsearch.search.training.checkpoint import claim_course
with claim_course(Path(sys.argv[1]), "f", say=print) as course:
    print(course.name, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow("loads TensorFlow in a process")
def test_a_killed_process_lets_go_of_its_course_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    checkpoint().write(tmp_path / "only.npz")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "only\n"
        with claim_course(tmp_path, "f", say=pytest.fail) as other:
            assert other.name != "only"
        process.kill()
        process.wait()
        with claim_course(tmp_path, "f", say=pytest.fail) as course:
            assert course.name == "only"


def test_a_disk_that_became_read_only_does_not_hide_why_a_course_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.raises(Interrupted), claim_course(tmp_path, "study", say=print) as course:
        monkeypatch.setattr(os, "unlink", refuse)
        course.clear()
        raise Interrupted
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [f"{course.name}.lock"]
    remove_left_courses(tmp_path, "study")
    assert not tmp_path.exists(), "the lock was free"
