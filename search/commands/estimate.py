"""How long a study will take and how much memory, reckoned from sizes alone: nothing is built, TensorFlow not loaded.

What a training step costs was fitted to runs of dense and convolutional models with 9 thousand to 3.8 million weights.
It came within a third of them; small convolutions take up to four times as long, which go into calling them.
"""

import math
from dataclasses import dataclass

import joblib

from klsearch.search.commands.speed import Speed
from klsearch.search.layout import most_slots
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.networks.workload import Workload, conv_workload, dense_workload

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
_COPIES_OF_DATA = 3
# As `search.training.slots` reckons: weights, moments, gradients and temporary copies; activations for the gradients.
_COPIES_PER_MEMBER = 8
_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study is expected to ask of a machine.

    Attributes:
        trainings: of models, in the search and on fresh seeds.
        seconds: of the whole study with nothing beside it.
        memory: bytes at the most.
    """

    trainings: int
    seconds: float
    memory: int


def estimate(definition: StudyDefinition, dataset: Dataset, speed: Speed) -> Estimate | None:
    """What a study will cost; None for a model of the user's own, whose size only building it would tell.

    Args:
        definition: the study.
        dataset: its data.
        speed: of the machine.
    """
    workload = _workload(definition, dataset)
    if workload is None:
        return None
    confirmation = definition.confirmation
    candidates = min(confirmation.top, definition.study.trials) + len(definition.baseline_hyperparameters())
    trainings = definition.study.trials + candidates * confirmation.seeds
    seconds = trainings * definition.training.epochs * _epoch_seconds(workload, definition, dataset, speed)
    return Estimate(
        trainings=trainings, seconds=_START_SECONDS + seconds, memory=_memory(workload, definition, dataset)
    )


def _workload(definition: StudyDefinition, dataset: Dataset) -> Workload | None:
    model, shape = definition.model, dataset.shape
    if model.kind == "dense":
        return dense_workload(shape, model.latent_dim, hidden=model.hidden or ())
    if model.kind == "conv":
        return conv_workload(shape, model.latent_dim, filters=model.filters or (), hidden=model.hidden or ())
    return None


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
    members = most if definition.model.kind == "dense" else min(most, joblib.cpu_count())
    member = _COPIES_PER_MEMBER * (workload.weights + definition.training.batch_size * workload.activations)
    data = _COPIES_OF_DATA * sum(dataset.rows.values()) * math.prod(dataset.shape)
    return _START_BYTES + _NUMBER_BYTES * (data + members * member)
