"""Trainings in a process of their own, on the device that its environment gives: `python -m tests.card.trainings`.

A list in JSON says what to train, one population after the other; the curves of each go into an .npz, by member, beside
what they were trained on.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from klsearch.search.layout import Layout

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 900  # against hanging


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to train.

    Attributes:
        case: a study of the benchmarks, whose data and model are taken.
        rows: of its data, at the most.
        epochs: that every member trains for.
        seeds: of the members, by slot.
        layout: slots, together and whether XLA compiles; see `search.layout.Layout`.
        handover: steps after which the members move into another population; None to stay.
        new_layout: of that population.
        new_slots: of the members there, by their old slots.
    """

    case: str = "digits"
    rows: int | None = None
    epochs: int = 4
    seeds: Mapping[int, int]
    layout: tuple[int, int, bool] = (8, 8, False)
    handover: int | None = None
    new_layout: tuple[int, int, bool] | None = None
    new_slots: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of it.

    Attributes:
        device: that it was trained on, in words.
        curves: of every member by its seed, float32 [epochs, 10], columns as in `CURVE_NAMES`.
    """

    device: str
    curves: dict[int, np.ndarray]


def train(environment: Mapping[str, str], *asked: Asked) -> list[Trained]:
    """Train one after the other in a process with this environment."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = json.dumps([asdict(one) for one in asked])
        command = [sys.executable, "-m", "tests.card.trainings", wanted, folder]
        paths = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return [_read(Path(folder) / f"{number}.npz") for number in range(len(asked))]


def _read(path: Path) -> Trained:
    with np.load(path) as arrays:
        curves = {int(name): arrays[name] for name in arrays.files if name.isdigit()}
        return Trained(device=str(arrays["device"]), curves=curves)


def _train_here(asked: Asked, out: Path) -> None:
    """Train, and write what came of it."""
    from klsearch.search.training.tensorflow import load_tensorflow, take_this_process

    take_this_process()
    load_tensorflow()

    from klsearch.search.training.models import build_network, build_population
    from klsearch.studies.definitions.catalog import load_definition
    from klsearch.studies.definitions.data import load_data
    from klsearch.vae.hyperparameters import AFTER
    from klsearch.vae.training.devices.cards import device_words, repeatable
    from klsearch.vae.training.population import Population
    from tests.benchmarks.cases import CASES

    definition = load_definition(str(CASES[asked.case].write(out.parent))).definition
    if asked.rows is not None:
        data = definition.data.model_copy(update={"rows": asked.rows})
        definition = definition.model_copy(update={"data": data})
    dataset = load_data(definition, out.parent)
    network = build_network(definition, dataset, out.parent)
    settings = replace(AFTER, kl_weight=0.05, annealing_epochs=2, encoder_dropout=0.1)

    def populate(layout: Sequence[int]) -> Population:
        slots, together, xla = layout
        return build_population(definition, network, dataset, Layout(slots, together, xla=bool(xla)))

    with repeatable(True):
        population, place = populate(asked.layout), {int(slot): int(slot) for slot in asked.seeds}
        for slot, seed in asked.seeds.items():
            population.start(int(slot), settings, seed)
        left = asked.handover
        while min(population.epoch(slot) for slot in place.values()) < asked.epochs:
            population.advance()
            left = None if left is None else left - 1
            if left == 0 and asked.new_layout is not None and asked.new_slots is not None:
                taken = population.snapshot()
                moved = {int(old): new for old, new in asked.new_slots.items()}
                place = {old: moved[old] for old in place}
                population = populate(asked.new_layout)
                members = {place[slot]: member for slot, member in taken.members.items()}
                population.restore(replace(taken, members=members))
        curves = {
            str(seed): population.curves(place[int(slot)]).as_rows()[: asked.epochs]
            for slot, seed in asked.seeds.items()
        }
        np.savez(out, allow_pickle=False, device=device_words(), **curves)


if __name__ == "__main__":
    for number, given in enumerate(json.loads(sys.argv[1])):
        _train_here(Asked(**given), Path(sys.argv[2]) / f"{number}.npz")
