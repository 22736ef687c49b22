"""The confirmation of a study, from its candidates to the winner's look at the test split."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.search.confirmation.confirmer import ConfirmationTools, Confirmer
from klsearch.search.confirmation.kept_members import KeptMembers
from klsearch.search.seeds import confirmation_seed, race_seeds
from klsearch.search.stopping import Interrupted
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.process import this_process
from klsearch.search.storage.records import closing_rows, confirmed_rows, load_study, raced_rows
from klsearch.search.storage.rows import Result, Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.forecast import Forecast
from klsearch.search.terminal.progress import Silence
from klsearch.search.training.assignment import Assignment
from klsearch.search.training.trainer import Source
from klsearch.search.training.worker import Worker
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import LADDER
from klsearch.studies.procedure import Procedure
from klsearch.vae.diagnostics.gates import judge
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.evaluation.latent_map import map_latents
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.evaluation.samples import ColumnErrors
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters

if TYPE_CHECKING:
    from tests.search.conftest import Called, Finished, Told, Workshop


ByHand = Callable[..., Result]
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
        forecast=Forecast(1),
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
        assert called.err.count("Training 4 models again") == told
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
    assert "Training 27 models again, whose weights were lost." in called.err
    cut_off, whole = load_study(place), load_study(known_place(str(finished.folder), storage=None, study=None))
    assert called.document == klsearch("best", finished.folder, "--json").document
    assert (whole.test_looks, cut_off.test_looks) == (1, 1), "a look that is taken again where it was cut off is one"
    for one, other in zip(cut_off.confirmation, whole.confirmation, strict=True):
        assert (one.candidate, one.seed, one.test is None) == (other.candidate, other.seed, other.test is None)
        if one.test is not None and other.test is not None:
            for name in Measures.__slots__:
                np.testing.assert_array_equal(getattr(one.test, name), getattr(other.test, name), strict=True)


PROBE = Probe(measure="accuracy", validation=0.5, test=0.75, chance=0.25)


class Confirmation:
    """The confirmation of a study on two seeds, in the workshop's population.

    Attributes:
        told: what its progress was told.
        sampled: the labels whose samples were taken, each time.
    """

    def __init__(self, workshop: "Workshop", study: StudyStorage, folder: Path, told: "Told") -> None:
        tables = workshop.definition.model_dump(exclude_unset=True)
        tables["confirmation"] = {"seeds": 2, "top": 2}
        self.definition = StudyDefinition.model_validate(tables)
        self.told = told
        self.sampled: list[list[str]] = []
        self._workshop, self._study, self._folder = workshop, study, folder

    def confirm(self, train: Callable[[Source], None] | None = None) -> bool:
        """Confirm in a new confirmer, as the next process would."""
        train_in: Callable[[Source], None] = train or self._workshop.train
        return Confirmer(
            Assignment(
                study=self._study, definition=self.definition, population=self._workshop.population, alone=False
            ),
            ConfirmationTools(
                build_population=lambda rule: pytest.fail("every baseline is weighed by its settings"),
                take_samples=self._take_samples,
                fit_probe=lambda means: PROBE,
                map_latents=partial(map_latents, labels=None, split="test"),
            ),
            KeptMembers(self._folder, "f", say=pytest.fail),
            worker=Worker(owner=this_process()),
            progress=self.told,
            forecast=Forecast(1),
            train=lambda population, source: train_in(source),
            pause=lambda: None,
        ).confirm()

    def _take_samples(self, members: Mapping[str, Members]) -> None:
        self.sampled.append(list(members))


@pytest.fixture
def confirmation(workshop: "Workshop", study: StudyStorage, tmp_path: Path, told: "Told") -> Confirmation:
    return Confirmation(workshop, study, tmp_path / "confirmed", told)


def refuse_to_train(source: Source) -> None:
    pytest.fail("nothing is to be trained")


def add_trial(study: StudyStorage, left: Result, score: float, *, pruned: bool = False) -> None:
    """A finished trial with settings of its own."""
    run = Run(hyperparameters=Hyperparameters(kl_weight=score, learning_rate=1e-2), seed=1, label="search")
    number = study.create_row(run, this_process())
    study.finish_row(number, left, owner=this_process(), score=score, constraints={}, pruned=pruned)


def test_without_a_finished_trial_there_is_nothing_to_confirm_and_nothing_is_written(
    study: StudyStorage, confirmation: Confirmation
) -> None:
    study.create_row(Run(hyperparameters=BEFORE, seed=1, label="search"), this_process())
    assert confirmation.confirm(train=refuse_to_train)
    assert confirmation.told.lines == ["No trial has finished, so there is nothing to confirm."]
    assert (study.confirmation_rows(), study.facts.winner, study.facts.test_looks) == ([], None, ())


def test_a_confirmation_that_another_process_took_over_chooses_no_winner_and_does_not_look_at_the_test_split(
    study: StudyStorage, confirmation: Confirmation, make_result: ByHand
) -> None:
    """Its rows are still running when this process has no more of them to train."""
    add_trial(study, make_result([2.0, 2.0]), 0.2)

    def lose(source: Source) -> None:
        source.take(100)

    assert not confirmation.confirm(train=lose)
    assert len(study.confirmation_rows()) == 2 * 3, "the baselines on two seeds; one leader has no race"
    assert (study.facts.winner, study.facts.test_looks, confirmation.sampled) == (None, (), [])


@pytest.mark.slow("trains ten members")
def test_winner_and_baselines_are_scored_on_test_once_and_other_leaders_never(
    study: StudyStorage, confirmation: Confirmation, make_result: ByHand, tmp_path: Path
) -> None:
    add_trial(study, make_result([2.0, 2.0]), 0.2)
    add_trial(study, make_result([2.0, 2.0]), 0.1)
    add_trial(study, make_result([2.0, 2.0]), 0.05, pruned=True)  # it has finished, but leads no others
    add_trial(study, make_result([2.0, 2.0]), 0.3)
    assert confirmation.confirm()
    told, facts = confirmation.told, study.facts
    assert told.phases == [("racing the leading trials", 0, 12), ("confirming on fresh seeds", 6, 8)]
    assert len(told.ended) == 12 + 2
    assert facts.winner in (0, 1)
    assert facts.confirmed_among == 4, "all that had finished, the one that was ended early too"
    assert len(facts.test_looks) == 1
    winner, loser = (f"trial {number}" for number in (facts.winner, 1 - facts.winner))
    rows = study.confirmation_rows()
    assert {row.run.label for row in rows} == {winner, loser, "before", "after", "mine"}
    raced = [row for row in rows if row.run.seed in race_seeds(0)]
    assert Counter(row.run.label for row in raced) == {winner: 3, loser: 3}
    for row in rows:
        assert row.result is not None
        assert list(row.result.measures) == ["validation"] + ["test"] * (row not in raced)
        assert row.probe == (None if row in raced else PROBE)
    assert confirmation.sampled == [[winner, "before", "after", "mine"]]
    kept = study.confirmation_latents()
    assert kept is not None and kept.names == (winner, "before", "after", "mine")
    assert kept.places.shape == (4, kept.of, 2)
    assert not (tmp_path / "confirmed").exists(), "nobody will ask for its members any more"

    assert confirmation.confirm(train=refuse_to_train), "whoever comes later finds it done"
    assert (study.facts, len(told.phases), len(confirmation.sampled)) == (facts, 2, 1)


@pytest.mark.slow("trains nine members")
def test_one_leading_trial_alone_does_not_race(
    study: StudyStorage, confirmation: Confirmation, make_result: ByHand
) -> None:
    add_trial(study, make_result([2.0, 2.0]), 0.2)
    assert confirmation.confirm()
    assert study.facts.winner == 0
    assert confirmation.told.phases == [("training the baselines", 0, 6), ("confirming on fresh seeds", 6, 8)]
    assert {row.run.seed for row in study.confirmation_rows()}.isdisjoint(race_seeds(0))


@pytest.mark.slow("trains thirteen members")
def test_the_winner_s_ladder_takes_slots_that_idle_and_the_rest_once_the_winner_is_known(
    workshop: "Workshop", study: StudyStorage, confirmation: Confirmation, make_result: ByHand, tmp_path: Path
) -> None:
    study.change_facts(ladder=3)
    add_trial(study, make_result([2.0, 2.0]), 0.2)

    def cut_off(source: Source) -> None:
        if study.facts.winner is not None:
            raise Interrupted
        workshop.train(source)

    with pytest.raises(Interrupted):
        confirmation.confirm(train=cut_off)
    facts, definition = study.facts, confirmation.definition
    assert facts.winner == 0
    assert len(closing_rows(study, definition)) == 2, "of four slots, the proof on two seeds took two"
    assert confirmation.confirm()
    assert replace(study.facts, confirmed_as="") == facts
    rungs = closing_rows(study, definition)
    assert [row.run.hyperparameters.kl_weight for row in rungs] == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert {replace(row.run.hyperparameters, kl_weight=0.2) for row in rungs} == {study.row(0).run.hyperparameters}
    assert all(row.result is not None and list(row.result.measures) == ["validation"] for row in rungs)
    drawn = ("drawing the winner's ladder", 2, 5)
    opened = [("training the baselines", 0, 6), ("confirming on fresh seeds", 6, 8)]
    assert confirmation.told.phases == [*opened, drawn, drawn]
    assert len(confirmation.told.ended) == 8 + 3
    assert not (tmp_path / "confirmed").exists()
    confirmed = confirmed_rows(study, definition)
    assert len(confirmed) == 8 and not any(row.run.label == LADDER for row in confirmed)
    assert raced_rows(study, definition) == []
    assert confirmation.confirm(train=refuse_to_train), "whoever comes later finds it done"


@pytest.mark.slow("trains forty members")
def test_a_study_of_the_first_release_is_confirmed_by_its_own_rules(
    study: StudyStorage, confirmation: Confirmation, make_result: ByHand
) -> None:
    study.change_facts(procedure=Procedure.OWN_SEEDS)
    for score in (0.2, 0.1):
        add_trial(study, make_result([2.0, 2.0]), score)
    assert confirmation.confirm()
    rows = study.confirmation_rows()
    assert Counter(row.run.label for row in rows) == {"trial 0": 2, "trial 1": 2, "before": 2, "after": 2, "mine": 2}
    assert {row.run.seed for row in rows} == {confirmation_seed(0, index) for index in range(2)}


@pytest.mark.slow("trains dozens of members")
def test_a_baseline_that_fails_three_times_leaves_and_one_that_passes_once_stays(
    study: StudyStorage, confirmation: Confirmation, make_result: ByHand, workshop: "Workshop"
) -> None:
    tables = confirmation.definition.model_dump(exclude_unset=True)
    tables["confirmation"] = {"seeds": 5, "top": 1}
    tables["baselines"] = {"mine": {"kl_weight": 1000.0, "annealing_epochs": 0}}  # which collapses
    confirmation.definition = StudyDefinition.model_validate(tables)
    add_trial(study, make_result([2.0, 2.0]), 0.2)
    assert confirmation.confirm()
    seeds = Counter(row.run.label for row in study.confirmation_rows())
    assert (seeds["trial 0"], seeds["mine"]) == (5, 3)
    passed = {label: 0 for label in seeds}
    for row in study.confirmation_rows():
        assert row.result is not None
        gates = judge(row.result.curves, row.result.measures["validation"], workshop.definition.thresholds())
        passed[row.run.label] += all(gate.passed for gate in gates)
    for label in ("before", "after", "mine"):
        assert seeds[label] == (5 if passed[label] else 3)
