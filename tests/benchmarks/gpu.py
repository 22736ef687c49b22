"""klsearch beside Keras on one card: `python -m tests.benchmarks gpu [CASE …]`. Prints a table, writes build/gpu.json.

Every contender gets the same rows, model, epochs, batch size and search space, in processes of its own, one contender
after the other: Optuna and Keras `fit` one trial at a time, at its fastest settings; the same loop in as many processes
at once as the card bears (their number is doubled until the trials an hour no longer rise, or one runs out of memory);
and klsearch, in float32 and with bfloat16 products. Beside them stands the card's own rate of large matrix products.

Without a card it refuses. `--rehearse` runs all of it at toy size on whatever there is: its figures mean nothing, but
show that the script is whole.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from klsearch.search.running.versions import provenance
from klsearch.vae.data.readers.raw import Request
from klsearch.vae.data.sources import read_source
from klsearch.vae.training.devices.driver import installed_cards, visible_cards
from tests.benchmarks import cases
from tests.benchmarks.__main__ import fastest, klsearch, loop

_OUTPUT = Path("build/gpu.json")
_PRECISIONS = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
_SIZE = 8192  # rows and columns: on a card a smaller product ends before it is well under way
_MOST_PROCESSES = 32
_RISE = 1.05  # what more processes must gain to be worth it


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One study to time on a card.

    Attributes:
        toml: its definition.
        trials: budgets of the two whole runs; a further trial costs their difference.
        keras_trials: of each loop of plain Keras, the first of which is left out.
        add_files: writes the data that it needs into a folder, of so many rows.
        rows: of those data.
        is_dense: whether the products that training needs can be counted.
    """

    toml: str
    trials: tuple[int, int]
    keras_trials: int
    add_files: Callable[[Path, int], None] | None = None
    rows: int = 0
    is_dense: bool = True


def _write_images(folder: Path, rows: int) -> None:
    """Fashion-MNIST's images at 64 × 64 pixels in three colours, as whole numbers of 8 bits."""
    grey = read_source(Request(source="fashion-mnist", folder=folder, rows=rows)).rows.reshape(-1, 28, 28)
    large = np.pad(np.repeat(np.repeat(grey.astype(np.uint8), 2, axis=1), 2, axis=2), ((0, 0), (4, 4), (4, 4)))
    shades = np.array([4, 3, 2], np.uint16)  # so that the colours differ
    np.save(folder / "images.npy", (large[..., np.newaxis].astype(np.uint16) * shades // 4).astype(np.uint8))


_ALL_CLOTHES = (
    cases.CASES["clothes"]
    .toml.replace("rows = 16000\n", "")
    .replace("{ validation = 0.125, test = 0.125 }", "{ validation = 0.0714, test = 0.0714 }")
)
_IMAGES = (
    """
[study]
name = "bench-images"
trials = 20
[data]
source = "images.npy"
split = { validation = 0.125, test = 0.125 }
[model]
kind = "conv"
filters = [32, 64, 128, 256]
latent_dim = 128
[training]
epochs = 5
"""
    + cases.SPACE
)

CASES = {
    "digits": Case(toml=cases.CASES["digits"].toml, trials=(1000, 2000), keras_trials=9),
    "clothes": Case(toml=cases.CASES["clothes"].toml, trials=(100, 200), keras_trials=5),
    "60,000 rows": Case(toml=_ALL_CLOTHES, trials=(40, 80), keras_trials=3),
    "64x64x3": Case(
        toml=_IMAGES, trials=(20, 40), keras_trials=3, add_files=_write_images, rows=16_000, is_dense=False
    ),
}


def _toy(case: Case) -> Case:
    """The same case so small that all of it is gone through in minutes on a processor."""
    toml = re.sub(r"epochs = \d+", "epochs = 2", case.toml)
    toml = re.sub(r"annealing_epochs = .*\n", "", toml)
    toml = toml.replace("filters = [32, 64, 128, 256]", "filters = [4, 4, 4, 4]").replace("= 128\n", "= 8\n")
    toml = re.sub(r'(source = "fashion-mnist"\n)(rows = \d+\n)?', r"\1rows = 400\n", toml)
    toml += "[gates]\nwindow = 2\n"
    return Case(toml=toml, trials=(4, 8), keras_trials=2, add_files=case.add_files, rows=300, is_dense=case.is_dense)


def _write(case: Case, folder: Path, precision: str = "float32") -> Path:
    """The definition as a file."""
    path = folder / f"{precision}.toml"
    path.write_text(case.toml.replace("[training]", f'[training]\nprecision = "{precision}"'), encoding="utf-8")
    return path


def _side_by_side(definition: Path, trials: int, jit_compile: bool, steps: int, processes: int) -> float | None:
    """Seconds per trial of so many loops of plain Keras at once, all together; None where one ran out of memory."""
    command = [sys.executable, "-m", "tests.benchmarks.loops.keras_loop", str(definition), str(trials)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    started = [
        subprocess.Popen(
            [*command, str(jit_compile), str(steps)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        for _ in range(processes)
    ]
    told = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        return None
    seconds = [float(statistics.median(json.loads(text.splitlines()[-1])[1:])) for text in told]
    return statistics.mean(seconds) / processes


def _best_of_many(definition: Path, case: Case, jit_compile: bool, steps: int, alone: float, most: int) -> Any:
    """The number of processes of plain Keras that train most trials an hour, and their seconds per trial."""
    best, processes = (1, alone), 2
    while processes <= most:
        seconds = _side_by_side(definition, case.keras_trials, jit_compile, steps, processes)
        if seconds is None or seconds * _RISE > best[1]:
            break
        best, processes = (processes, seconds), 2 * processes
    return {"processes": best[0], "seconds_per_trial": best[1]}


def _rate(precision: str, size: int) -> float:
    """The device's rate of large matrix products, GFLOP/s."""
    command = [sys.executable, "-m", "tests.benchmarks.machine", str(size), _PRECISIONS[precision]]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return float(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)


def _search(case: Case, folder: Path, precision: str, size: int) -> dict[str, Any]:
    """klsearch, in one precision."""
    definition = _write(case, folder, precision)
    few, many = (klsearch(definition, trials) for trials in case.trials)
    training = many.training / case.trials[1]
    loaded, splits = cases.load(definition)
    products = cases.training_products(loaded, len(splits["train"])) / 1e9 if case.is_dense else None
    rate = _rate(precision, size)
    return {
        "seconds_per_further_trial": (many.seconds - few.seconds) / (case.trials[1] - case.trials[0]),
        "training_seconds_per_trial": training,
        "whole_command_seconds": dict(zip(case.trials, (few.seconds, many.seconds), strict=True)),
        "layout": [line.strip() for line in many.said if " at a time, " in line or "do not fit" in line],
        "peak_mb": many.peak,
        "products_gflops": rate,
        "share_of_products": None if products is None else products / training / rate,
    }


def measure(case: Case, *, most_processes: int = _MOST_PROCESSES, size: int = _SIZE) -> dict[str, Any]:
    """All contenders on one case."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if case.add_files is not None:
            case.add_files(folder, case.rows)
        definition = _write(case, folder)
        jit_compile, steps = fastest(definition)
        alone = statistics.median(loop("keras_loop", definition, case.keras_trials, jit_compile, steps))
        many = _best_of_many(definition, case, jit_compile, steps, alone, most_processes)
        ours = {precision: _search(case, folder, precision, size) for precision in _PRECISIONS}
        again = statistics.median(loop("keras_loop", definition, case.keras_trials, jit_compile, steps))
    return {
        "keras": {
            "seconds_per_trial": (alone + again) / 2,  # one side before, one after: a machine drifts
            "jit_compile": jit_compile,
            "steps_per_execution": steps,
        },
        "keras_processes": many,
        "klsearch": ours,
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The measurements as text: seconds per further trial, and how many times faster klsearch is."""
    heads = ("Keras", "processes", "float32", "bfloat16", "ratio", "to several", "of products")
    lines = [f"{'case':12}" + "".join(f"{head:>14}" for head in heads)]
    for name, result in found.items():
        alone, many, ours = result["keras"], result["keras_processes"], result["klsearch"]
        further = {precision: one["seconds_per_further_trial"] for precision, one in ours.items()}
        best = min(further, key=lambda precision: further[precision])
        share = ours[best]["share_of_products"]
        cells = (
            f"{alone['seconds_per_trial']:.3f} s",
            f"{many['processes']}: {many['seconds_per_trial']:.3f} s",
            *(f"{seconds:.3f} s" for seconds in further.values()),
            f"{alone['seconds_per_trial'] / further[best]:.1f}×",
            f"{many['seconds_per_trial'] / further[best]:.1f}×",
            "–" if share is None else f"{share:.0%}",
        )
        lines.append(f"{name:12}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def _sees_a_card() -> bool:
    code = "import tensorflow as tf; raise SystemExit(not tf.config.list_physical_devices('GPU'))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def main(asked: Sequence[str]) -> None:
    """Measure the cases named, or all; what is known is written after each."""
    rehearses = "--rehearse" in asked
    names = [name for name in asked if name != "--rehearse"] or list(CASES)
    if unknown := set(names) - set(CASES):
        sys.exit(f"There is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}.")
    if not rehearses and not _sees_a_card():
        sys.exit("TensorFlow sees no NVIDIA card here, so there is nothing to measure; `klsearch doctor` says why.")
    found: dict[str, Any] = {
        "rehearsal": rehearses,
        "cards": [asdict(card) for card in visible_cards(installed_cards())],
        "machine": provenance(),
        "cases": {},
    }
    _OUTPUT.parent.mkdir(exist_ok=True)
    for name in names:
        sizes: dict[str, int] = {"most_processes": 2, "size": 256} if rehearses else {}
        found["cases"][name] = measure(_toy(CASES[name]) if rehearses else CASES[name], **sizes)
        _OUTPUT.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if rehearses:
        print("A rehearsal at toy size: these figures mean nothing.")
    print(table(found["cases"]))
