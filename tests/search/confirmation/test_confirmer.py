"""The confirmation of a study, from its candidates to the winner's look at the test split."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.confirmation.confirmer import ConfirmationTools, Confirmer
from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.progress import Silence
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import load_study
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.worker import Worker
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.samples import ColumnErrors

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Workshop


Klsearch = Callable[..., "Called"]

SEEDS = range(8)


@pytest.mark.slow("searches and confirms a study")
def test_others_learn_that_the_process_lives_while_it_measures_on_the_test_split(
    workshop: "Workshop", study: StudyStorage, tmp_path: Path
) -> None:
    workshop.search(study, 4)
    scored: list[int] = []

    def pause() -> None:
        rows = study.confirmation_rows()
        scored.append(sum(one.result is not None and "test" in one.result.measures for one in rows))

    confirmer = Confirmer(
        Assignment(study=study, definition=workshop.definition, population=workshop.population, alone=False),
        ConfirmationTools(
            build_population=lambda rule: workshop.population,
            take_samples=lambda members: None,
            fit_probe=lambda latents: None,
        ),
        KeptMembers(tmp_path / "confirmed", "f", say=pytest.fail),
        worker=Worker(owner=this_process()),
        progress=Silence(),
        train=lambda population, source: workshop.train(source),
        pause=pause,
    )
    assert confirmer.confirm()
    pause()
    candidates_scored = 1 + len(workshop.definition.baseline_names())
    assert scored[-1] == candidates_scored * len(SEEDS)
    assert max(scored.count(count) for count in scored[:-1]) <= workshop.population.slots + 1, "after each measurement"
    assert set(range(0, scored[-1], workshop.population.slots)) <= set(scored)


def test_samples_that_were_lost_are_made_again_of_the_same_models(
    finished_copy: "Finished", klsearch: Klsearch
) -> None:
    place = known_place(str(finished_copy.folder), storage=None, study=None)
    before = load_study(place).samples
    assert isinstance(before, ColumnErrors)
    with open_storage(place.url, create=False) as storage:
        StudyStorage.load(storage, place.name).confirmation().replace_samples(None, [])
    for told in (1, 0):
        called = klsearch("resume", finished_copy.folder)
        assert called.err.count("Training 4 confirmed members again") == told
        assert called.err.count("training again 4/4\n") == told
        after = load_study(place).samples
        assert isinstance(after, ColumnErrors)
        assert (after.names, after.columns) == (before.names, before.columns)
        np.testing.assert_array_equal(after.unexplained, before.unexplained)


def test_an_interrupted_confirmation_goes_on_to_the_same_result(
    finished: "Finished", finished_copy: "Finished", klsearch: Klsearch
) -> None:
    """Cut off while the test split was scored: all members are trained again, and measure the same to the last bit."""
    journal = finished_copy.folder / "storage.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    scored = [index for index, line in enumerate(lines) if b'"klsearch:test:' in line]
    assert len(scored) == 32, "the winner and three baselines on eight seeds"
    journal.write_bytes(b"".join(lines[: scored[5]]))
    place = known_place(str(finished_copy.folder), storage=None, study=None)
    assert load_study(place).winner is None
    called = klsearch("resume", finished_copy.folder, "--json")
    assert called.code == 0
    assert "Training 27 confirmed members again, whose weights were not kept." in called.err
    cut_off, whole = load_study(place), load_study(known_place(str(finished.folder), storage=None, study=None))
    assert called.document == klsearch("best", finished.folder, "--json").document
    assert (whole.test_looks, cut_off.test_looks) == (1, 2), "every look at the test split is counted"
    for one, other in zip(cut_off.confirmation, whole.confirmation, strict=True):
        assert (one.candidate, one.seed, one.test is None) == (other.candidate, other.seed, other.test is None)
        if one.test is not None and other.test is not None:
            for name in Measures.__slots__:
                np.testing.assert_array_equal(getattr(one.test, name), getattr(other.test, name), strict=True)
