"""Memory that is too small for all members at a time: the fault comes from inside the compiled program."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from klsearch.search.layout import Layout
from klsearch.search.storage.rows import Result, Run
from klsearch.search.training.checkpoint import Checkpoint, Course
from klsearch.search.training.device_faults import OutOfMemory, tell_device_faults
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.trainer import Job, Saving, Trainer, UnsharedSource
from klsearch.studies.errors import KlsearchError
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.training.population import Population
from klsearch.vae.training.weighting import Terms, WeighedLoss
from tests.vae.training.devices.exhaustion import exhaust_memory

if TYPE_CHECKING:
    from tests.search.conftest import Called, Workshop

EPOCHS = 6
EIGHT = Layout(8, 8)
STEPS = 4  # of an epoch: 128 rows in batches of 32


class Greedy:
    """Weighs as the settings say, but finds no memory for more than so many members once so many steps are taken."""

    memories: ClassVar[int] = 0

    def __init__(self, most: int, *, after: int = 0) -> None:
        self._most = most
        self._left = tf.Variable(after)
        self._largest = tf.Variable(0)

    @property
    def largest(self) -> int:
        """How many members the last step had that found memory."""
        return int(self._largest)

    def weigh(self, terms: Terms, memory: Sequence[tf.Tensor]) -> WeighedLoss:
        del memory
        members = tf.shape(terms.kl)[0]
        is_too_large = (self._left.assign_sub(1) < 0) & (members > self._most)
        with tf.control_dependencies([exhaust_memory(when=is_too_large)]):
            fitted = self._largest.assign(members)
        with tf.control_dependencies([fitted]):
            return WeighedLoss(tf.identity(terms.loss(terms.annealed)), terms.annealed, [])


class Trainings(UnsharedSource):
    """Trainings on seeds of their own; some are shorter, so that slots are filled again at different times."""

    def __init__(self, count: int = 11) -> None:
        settings = [Hyperparameters(kl_weight=0.1 + number / 10, learning_rate=1e-2) for number in range(count)]
        self._jobs = [
            Job(
                number=number,
                run=Run(hyperparameters=chosen, seed=number, label="trial"),
                epochs=2 + number % 3 if number % 2 else None,
            )
            for number, chosen in enumerate(settings)
        ]
        self.finished: dict[int, Result] = {}

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        raise AssertionError("no process has ended")

    def take(self, free: int) -> list[Job]:
        taken, self._jobs = self._jobs[:free], self._jobs[free:]
        return taken

    def finish(self, finished: Any, member: Callable[[int], Members]) -> None:
        del member
        assert not self.finished.keys() & finished.keys(), "a result is told once"
        self.finished |= finished


def results_of(source: Trainings) -> dict[int, tuple[bytes, bytes]]:
    def measured(result: Result) -> bytes:
        values = [getattr(one, name) for one in result.measures.values() for name in one.__slots__]
        return b"".join(np.asarray(value).tobytes() for value in values)

    return {
        number: (result.curves.as_rows().tobytes(), measured(result))
        for number, result in sorted(source.finished.items())
    }


class Chosen(Course):
    """A course that is saved at the times that a test chooses, counted from 0, and not by the clock."""

    def __init__(self, folder: Path, times: Collection[int]) -> None:
        super().__init__(folder, "course", "f", say=pytest.fail)
        self._times = times
        self._asked = -1

    def is_due(self, *, between_epochs: bool) -> bool:
        self._asked += 1
        return self._asked in self._times


def greedy_population(workshop: "Workshop", weighting: Greedy, layout: Layout = EIGHT) -> Population:
    network = build_network(workshop.definition, workshop.dataset, Path())
    assert -(-workshop.dataset.rows["train"] // workshop.definition.training.batch_size) == STEPS
    return build_population(workshop.definition, network, workshop.dataset, layout, weighting)


def train(population: Population, saving: Saving | None = None) -> tuple[Trainings, list[str]]:
    source, said = Trainings(), list[str]()
    trainer = Trainer(population, epochs=EPOCHS, watch=lambda running: None, stop=lambda: False, say=said.append)
    trainer.train(source, saving)
    return source, said


@pytest.fixture
def a_call_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a model whose steps take a second each."""
    monkeypatch.setattr("klsearch.vae.training.population._CALL_SECONDS", 1e-9)


@pytest.fixture(scope="module")
def undisturbed(workshop: "Workshop") -> dict[int, tuple[bytes, bytes]]:
    """What the trainings come to where there is memory for all."""
    source, said = train(greedy_population(workshop, Greedy(8)))
    assert said == []
    return results_of(source)


LINE = (
    "warning: 8 trials in one program do not fit into the memory of this machine; from now on 4 train in one, one "
    "program after the other. Nothing is lost, and results stay the same."
)


@pytest.mark.parametrize("after", [0, 2, 3 * STEPS + 1])
@pytest.mark.slow("compiles three programs")
def test_where_memory_is_too_small_fewer_train_together_and_no_result_is_lost_or_has_other_bits(
    workshop: "Workshop", undisturbed: dict[int, tuple[bytes, bytes]], after: int
) -> None:
    greedy = Greedy(4, after=after)
    population = greedy_population(workshop, greedy)
    source, said = train(population)
    assert said == [LINE]
    assert (population.slots, population.together, greedy.largest) == (8, 4, 4)
    assert results_of(source) == undisturbed


@pytest.mark.parametrize(
    ("saved_at", "after"),
    [(4, STEPS), (8, 3 * STEPS + 2), (6, STEPS + 3), (6, 2 * STEPS + 2)],
    ids=["between epochs", "between epochs, a job began since", "amid an epoch", "amid an epoch, a job began since"],
)
@pytest.mark.usefixtures("a_call_for_each_step")
@pytest.mark.slow("compiles three programs")
def test_what_was_saved_goes_on_from_there(
    workshop: "Workshop",
    undisturbed: dict[int, tuple[bytes, bytes]],
    tmp_path: Path,
    saved_at: int,
    after: int,
) -> None:
    course = Chosen(tmp_path, [saved_at])  # asked before the first step, then after each
    source, said = train(greedy_population(workshop, Greedy(4, after=after)), Saving(course=course, study="tiny"))
    assert said == [LINE]
    assert results_of(source) == undisturbed


@pytest.mark.usefixtures("a_call_for_each_step")
@pytest.mark.slow("compiles three programs")
def test_where_not_even_two_fit_it_ends_in_one_line_with_the_checkpoint_as_it_was(
    workshop: "Workshop", tmp_path: Path
) -> None:
    saving = Saving(course=Chosen(tmp_path, [STEPS]), study="tiny")  # after the first epoch
    population = greedy_population(workshop, Greedy(1, after=2 * STEPS), Layout(4, 4))
    with pytest.raises(OutOfMemory) as caught:
        train(population, saving)
    assert str(caught.value).startswith("2 models at a time do not fit into the memory of this machine. Everything")
    assert "\n" not in str(caught.value)
    saved = Checkpoint.read(tmp_path / "course.npz")
    assert [member.clock.epoch for member in saved.snapshot.members.values()] == [1, 1, 1, 1]


def test_members_that_train_alone_cannot_be_fewer(workshop: "Workshop") -> None:
    assert not greedy_population(workshop, Greedy(1), Layout(2, 1)).train_fewer_together()


def test_slots_that_are_laid_out_anew_hold_no_more_together_than_fitted(workshop: "Workshop") -> None:
    population = greedy_population(workshop, Greedy(4))
    assert (population.slots, population.together) == (8, 8)
    assert population.train_fewer_together()
    for slots, together, fitting in ((2, 2, 2), (12, 12, 4), (6, 6, 2), (8, 8, 4), (5, 5, 5)):  # five are no pairs
        population.resize(slots, together)
        assert (population.slots, population.together) == (slots, fitting)


def test_measuring_takes_smaller_groups_where_memory_is_too_small(
    workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
) -> None:
    population = workshop.population
    for slot in range(4):
        population.start(slot, Hyperparameters(kl_weight=0.1), seed=slot)
    members = [population.member(slot) for slot in range(4)]
    before = population.measure_members(members, "validation")
    sizes, measure = list[int](), population._evaluator.measure

    def measure_few(together: Members, split: str) -> Any:
        sizes.append(len(together.clip_low))
        if sizes[-1] > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "more than there is")
        return measure(together, split)

    monkeypatch.setattr(population._evaluator, "measure", measure_few)
    monkeypatch.setattr(population, "_measured_together", 8)
    assert [one.elbo for one in population.measure_members(members, "validation")] == [one.elbo for one in before]
    assert sizes[-2:] == [2, 2]
    for slot in range(4):
        population.stop(slot)
    while not population.advance():
        pass


def test_what_nothing_makes_smaller_is_one_line_with_the_way_out() -> None:
    with pytest.raises(OutOfMemory, match=r"^The data and the models do not fit into the memory of this machine\. "):
        with tell_device_faults():
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,512]")


def test_an_operation_that_cannot_repeat_its_bits_names_the_setting() -> None:
    reason = "A deterministic GPU implementation of Thing is not currently available.\n\t [[{{node x}}]]"
    with pytest.raises(KlsearchError, match=r"\(A deterministic .*\)\. Set training\.deterministic = false"):
        with tell_device_faults():
            raise tf.errors.UnimplementedError(None, None, reason)
    with pytest.raises(tf.errors.UnimplementedError):
        with tell_device_faults():
            raise tf.errors.UnimplementedError(None, None, "Cast string to float is not supported")


@pytest.mark.slow("runs a whole study and trains a model again")
def test_a_study_whose_memory_ends_says_so_once_goes_on_and_can_be_reproduced(
    klsearch: Callable[..., "Called"], definition_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, run = Greedy(4, after=20), definition_file.parent / "run"
    monkeypatch.setattr("klsearch.vae.training.population.AnnealedWeight", lambda: greedy)
    monkeypatch.setattr("klsearch.search.running.create.side_by_side", lambda: 1)  # as on a card
    ran = klsearch("run", definition_file, "--out", run, "--slots", 8, "--trials", 12, "--no-confirm", "--no-progress")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines().count(LINE) == 1
    assert [trial["state"] for trial in klsearch("trials", run, "--json").document["trials"]] == ["complete"] * 12
    for trial in (0, 11):
        again = klsearch("reproduce", run, trial)
        assert again.code == 0, again.out
