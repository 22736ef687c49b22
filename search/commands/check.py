"""The findings of `check` beyond the definition: the cost of the study, and whether a model of the user's own fits.

Costs are reckoned from sizes alone: nothing is built for it, TensorFlow not loaded. What a training step costs was
fitted to runs of dense and convolutional models with 9 thousand to 3.8 million weights. It came within a third of them;
small convolutions take up to four times as long, which go into calling them.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from klsearch.search.confirmation.candidates import baselines
from klsearch.search.layout import MEMORY_SHARE, most_slots
from klsearch.search.running.versions import find_missing
from klsearch.search.seeds import race_seeds
from klsearch.search.training.tensorflow import load_tensorflow
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import CLOSING_RUNGS, count_rungs
from klsearch.vae.data.cautions import Caution
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.evaluation.pca import MOST_VALUES
from klsearch.vae.host.machine import usable_cores
from klsearch.vae.networks.kinds import KINDS, shares_programs
from klsearch.vae.networks.workload import Workload
from klsearch.vae.training.devices.driver import PROCESSOR, InstalledCard, installed_cards, visible_cards

_PRODUCT = 1024  # rows and columns: large enough that all cores are busy
_NUMBERS = 4_000_000  # more than caches hold
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of a machine in single precision, with all cores.

    Attributes:
        multiply_adds: of large matrix products, per second.
        numbers: read and written in the elementwise product of two large arrays, per second.
    """

    multiply_adds: float
    numbers: float


def measure_speed() -> Speed:
    """This machine's speed now, as NumPy finds it: the best of a few rounds, a fifth of a second in all."""
    matrix, vector = np.ones((_PRODUCT, _PRODUCT), np.float32), np.ones(_NUMBERS, np.float32)
    product, numbers = np.empty_like(matrix), np.empty_like(vector)
    return Speed(
        multiply_adds=_PRODUCT**3 / _least_seconds(lambda: np.matmul(matrix, matrix, out=product)),
        numbers=_NUMBERS / _least_seconds(lambda: np.multiply(vector, vector, out=numbers)),
    )


def _least_seconds(calculate: Callable[[], object]) -> float:
    """The least seconds that a calculation took."""
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        calculate()
        times.append(time.perf_counter() - began)
    return min(times)


# Forward once and backward twice, each somewhat slower than one large product.
_PRODUCTS = 3 * 1.2
_VALIDATION_PRODUCTS = 1.2
# How often a step passes over each number: Adam over weights and moments; sampling, activations, dropout and gradients.
_PASSES_OVER_WEIGHTS = 5
_PASSES_OVER_ACTIVATIONS = 10
# What a step costs beside, in numbers passed over: calling some hundred small operations.
_PASSES_BESIDE = 1_000_000
_START_SECONDS = 15.0  # loading TensorFlow, timing the slots, compiling, writing the report

_START_BYTES = 950_000_000  # Python with TensorFlow, its threads and one compiled program
_COPIES_OF_DATA = 3  # as float32; of rows that stay as they came, only while a PCA is fitted to few of them
# As `search.training.slots` reckons: weights, moments, gradients and temporary copies; activations for the gradients.
_COPIES_PER_MEMBER = 8
_NUMBER_BYTES = 4
_NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The expected demands of a study on a machine.

    Attributes:
        trainings: of models, in the search and on fresh seeds, at the most.
        device: what they are computed on.
        seconds: of the whole study with nothing beside it; None on a card, where nobody has measured any.
        memory: bytes of the machine's at the most.
        card_memory: bytes of the card's at the most; None without a card.
    """

    trainings: int
    device: str
    seconds: float | None
    memory: int
    card_memory: int | None = None


def find_card() -> InstalledCard | None:
    """The card that TensorFlow will train on, as far as can be told without loading it."""
    cards = visible_cards(installed_cards())
    return cards[0] if cards and not find_missing("tensorflow", "and-cuda") else None


def estimate(
    definition: StudyDefinition, dataset: Dataset, speed: Speed, card: InstalledCard | None = None
) -> Estimate | None:
    """Estimate what a study will cost; None for a model of the user's own, whose size only building it would tell.

    Args:
        definition: the study.
        dataset: its data.
        speed: of the machine.
        card: that trains; None for the processor.
    """
    workload = _workload(definition, dataset)
    if workload is None:
        return None
    settled = definition.settle(shape=dataset.shape, kl_band=None)
    trainings = definition.study.trials + _confirmation_trainings(settled)
    if card is not None:
        return Estimate(
            trainings=trainings,
            device=card.name,
            seconds=None,
            memory=_START_BYTES + _data_bytes(dataset),
            card_memory=_card_memory(workload, definition, dataset, card),
        )
    seconds = trainings * definition.training.epochs * _epoch_seconds(workload, definition, dataset, speed)
    memory = _memory(workload, definition, dataset)
    return Estimate(trainings=trainings, device=PROCESSOR, seconds=_START_SECONDS + seconds, memory=memory)


def _confirmation_trainings(definition: StudyDefinition) -> int:
    """The most that a confirmation trains: none of the baselines leaves early, and a ladder ends it."""
    study, confirmation = definition.study, definition.confirmation
    leaders = min(confirmation.top, study.trials) if confirmation.seeds else 0
    race = leaders * len(race_seeds(study.seed)) if leaders > 1 else 0
    closing = CLOSING_RUNGS if confirmation.seeds and count_rungs(definition) else 0
    return race + confirmation.seeds * (1 + len(baselines(definition))) + closing


def _workload(definition: StudyDefinition, dataset: Dataset) -> Workload | None:
    model = definition.model
    if model.kind not in KINDS:
        return None
    build = KINDS[model.kind].workload
    return build(dataset.shape, model.latent_dim, **model.sizes(), condition_width=dataset.condition_width)


def _epoch_seconds(workload: Workload, definition: StudyDefinition, dataset: Dataset, speed: Speed) -> float:
    """One epoch of one member, its share of the wall time."""
    rows = dataset.rows
    steps = math.ceil(rows["train"] / definition.training.batch_size)
    products = workload.multiply_adds * (_PRODUCTS * rows["train"] + _VALIDATION_PRODUCTS * rows["validation"])
    passes = steps * (_PASSES_OVER_WEIGHTS * workload.weights + _PASSES_BESIDE)
    passes += rows["train"] * _PASSES_OVER_ACTIVATIONS * workload.activations
    return products / speed.multiply_adds + passes / speed.numbers


def _memory(workload: Workload, definition: StudyDefinition, dataset: Dataset) -> int:
    """Bytes, with as many members at a time as there may be; the slots that are measured are often fewer."""
    most = most_slots(definition)
    members = most if shares_programs(definition.model.kind) else min(most, usable_cores())
    trained = members * _member_bytes(workload, definition)
    if dataset.kept_bytes is None:
        return _START_BYTES + _data_bytes(dataset) + trained
    train = dataset.rows["train"] * math.prod(dataset.shape)
    fitted = _NUMBER_BYTES * _COPIES_OF_DATA * train if train <= MOST_VALUES else 0
    return _START_BYTES + _data_bytes(dataset) + max(fitted, trained)


def _card_memory(workload: Workload, definition: StudyDefinition, dataset: Dataset, card: InstalledCard) -> int:
    """Bytes of the card, with as many members at a time as there may be, and as may share its memory."""
    member = _member_bytes(workload, definition)
    fitting = _NO_LIMIT if card.free is None else max(2, int(MEMORY_SHARE * card.free / member))
    return _data_bytes(dataset) + min(most_slots(definition, on_card=True), fitting) * member


def _data_bytes(dataset: Dataset) -> int:
    if dataset.kept_bytes is not None:
        return dataset.kept_bytes
    return _NUMBER_BYTES * _COPIES_OF_DATA * sum(dataset.rows.values()) * math.prod(dataset.shape)


def _member_bytes(workload: Workload, definition: StudyDefinition) -> int:
    numbers = workload.weights + definition.training.batch_size * workload.activations
    return _NUMBER_BYTES * _COPIES_PER_MEMBER * numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """What a model of the user's own was found to be.

    Attributes:
        weights: how many it trains.
        notes: what was taken for what, one line each.
        cautions: what may surprise.
    """

    weights: int
    notes: tuple[str, ...]
    cautions: tuple[Caution, ...]


def examine_own_model(definition: StudyDefinition, dataset: Dataset, folder: Path) -> OwnModel | None:
    """Build the user's own model; None where it is not their own.

    TensorFlow is loaded only for a model of their own, whose module needs it anyway.

    Args:
        definition: the study.
        dataset: its data, for the shape of a row.
        folder: where the model's module is looked for.

    Raises:
        DefinitionError: the module cannot be imported, the factory fails, or what it gives does not fit.
    """
    if not definition.model.is_own:
        return None
    load_tensorflow()
    from klsearch.search.training.models import build_network
    from klsearch.vae.networks.stacking import trainable_variables

    network = build_network(definition, dataset, folder)
    brought = network.brought
    return OwnModel(
        weights=sum(int(math.prod(variable.shape)) for variable in trainable_variables(network)),
        notes=brought.notes if brought is not None else (),
        cautions=brought.cautions if brought is not None else (),
    )
