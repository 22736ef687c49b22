"""Finished trainings once more: their members, whose weights no storage holds, and whether they match bit for bit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from klsearch.search.storage.encoding import decode_measures, encode_measures
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.rows import Result, Row, Run
from klsearch.search.terminal.progress import Progress
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.device_faults import tell_device_faults
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.own_faults import tell_own_faults
from klsearch.search.training.trainer import Job, Trainer, UnsharedSource, job_again
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.errors import StudyConflict
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.diagnostics.curves import CURVE_NAMES
from klsearch.vae.diagnostics.measures import LATENT_NAMES, Measures
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.networks.network import Network
from klsearch.vae.training.devices.cards import repeatable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrainedMember:
    """A finished training, trained once more.

    Attributes:
        network: that it was trained in.
        member: its values.
        result: its curves, and its measures on validation.
    """

    network: Network
    member: Members
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A value that is another one now.

    Attributes:
        value: the curve's or the measure's name; "epochs" where the trainings differ in length.
        place: the first epoch (from 1) of a curve, or latent (from 1) of a measure per latent, that differs; None for
            a single number.
        stored: the value in the storage.
        now: the value now.
    """

    value: str
    place: int | None
    stored: float
    now: float


class RetrainingSource(UnsharedSource):
    """Finished rows trained once more, as a source of jobs: nothing is stored.

    Attributes:
        results: by number.

    Args:
        rows: to train.
        keep: is given each member, by what was trained.
        tell: is called when one has finished.
    """

    def __init__(
        self, rows: Sequence[Row], *, keep: Callable[[Run, Members], None], tell: Callable[[None], None]
    ) -> None:
        self._pending = [job_again(row) for row in rows]
        self._runs = {row.number: row.run for row in rows}
        self._keep = keep
        self._tell = tell
        self.results: dict[int, Result] = {}

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """The jobs of a checkpoint that are wanted."""
        pending = {job.number: job for job in self._pending}
        jobs = {slot: pending.pop(number) for slot, number in checkpoint.numbers.items() if number in pending}
        self._pending = list(pending.values())
        return jobs

    def take(self, free: int) -> list[Job]:
        """The next rows."""
        jobs, self._pending = self._pending[:free], self._pending[free:]
        return jobs

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Keep the members and their results."""
        for number, result in finished.items():
            self._keep(self._runs[number], member(number))
            self.results[number] = result
            self._tell(None)


def retrain(
    loaded: LoadedDefinition,
    dataset: Dataset,
    facts: StudyFacts,
    row: Row,
    *,
    progress: Progress,
) -> RetrainedMember:
    """Train a finished row of a study once more, as it was trained: to the same bits, on one machine and its versions.

    Args:
        loaded: the study's definition.
        dataset: its data.
        facts: of the study.
        row: a trial's or a confirmation's.
        progress: is told what happens.

    Raises:
        StudyConflict: the data are not those that the study was trained on.
    """
    if facts.data.fingerprint != dataset.fingerprint:
        raise StudyConflict(
            f"{loaded.definition.data.source}: the rows are not those that the study was trained on; restore them."
        )
    definition = loaded.definition
    with (
        repeatable(definition.training.deterministic),
        tell_own_faults(definition.model, goes_on=False),
        tell_device_faults(),
    ):
        return _train_again(loaded, dataset, facts, row, progress=progress)


def _train_again(
    loaded: LoadedDefinition, dataset: Dataset, facts: StudyFacts, row: Row, *, progress: Progress
) -> RetrainedMember:
    network = build_network(loaded.definition, dataset, loaded.folder)
    population = build_population(loaded.definition, network, dataset, facts.layout.for_members(1))
    members: dict[Run, Members] = {}
    source = RetrainingSource([row], keep=members.__setitem__, tell=progress.count)
    progress.begin("training again", done=0, total=1)
    epochs = loaded.definition.training.epochs
    trainer = Trainer(population, epochs=epochs, watch=progress.watch, stop=lambda: False, say=progress.say)
    trainer.train(source)
    return RetrainedMember(network=network, member=members[row.run], result=source.results[row.number])


def mismatches(stored: Result, now: Result) -> list[Mismatch]:
    """The places where two results of one training differ, be it in the last bit.

    Curves come first, then measures on validation. The seconds that they took are left out.
    """
    if stored.curves.epochs != now.curves.epochs:
        return [Mismatch(value="epochs", place=None, stored=stored.curves.epochs, now=now.curves.epochs)]
    found = [_first(name, getattr(stored.curves, name), getattr(now.curves, name)) for name in CURVE_NAMES]
    before, after = stored.measures.get("validation"), now.measures.get("validation")
    if before is not None and after is not None:  # both, or neither where it diverged
        after = decode_measures(encode_measures(after))  # as it would be stored, where infinity is no number
        names = [name for name in Measures.__slots__ if name not in LATENT_NAMES]
        found += [_first(name, _one(before, name), _one(after, name), single=True) for name in names]
        found += [_first(name, getattr(before, name), getattr(after, name)) for name in LATENT_NAMES]
    return [mismatch for mismatch in found if mismatch is not None]


def _one(measures: Measures, name: str) -> np.ndarray:
    return np.array([getattr(measures, name)], np.float64)


def _first(name: str, stored: np.ndarray, now: np.ndarray, *, single: bool = False) -> Mismatch | None:
    """The first of two arrays' values that differ, a NaN being like another but no 0 like a −0; None if all agree."""
    same = (stored == now) & (np.signbit(stored) == np.signbit(now))
    (places,) = np.nonzero(~(same | (np.isnan(stored) & np.isnan(now))))
    if not places.size:
        return None
    at = int(places[0])
    return Mismatch(value=name, place=None if single else at + 1, stored=float(stored[at]), now=float(now[at]))
