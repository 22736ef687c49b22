"""Whether half the bits do: the same trainings in float32 and in mixed bfloat16, and what they cost.

    python -m tests.benchmarks.precision [SEEDS]

The recipe's two settings and one that keeps KL in the band, on several seeds of each benchmark study. Prints for each
the mean and standard deviation over seeds of KL and unexplained, their mean difference, seed by seed, with its 95 %
interval, how many seeds passed all gates, and the seconds of a trial.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from klsearch.search.layout import Layout
from klsearch.search.seeds import confirmation_seed
from klsearch.search.storage.rows import Result, Run
from klsearch.search.training.checkpoint import Checkpoint
from klsearch.search.training.models import build_network, build_population
from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
from klsearch.search.training.trainer import Job, Trainer, UnsharedSource
from klsearch.studies.definitions.catalog import LoadedDefinition, load_definition, override
from klsearch.studies.definitions.data import load_data
from klsearch.studies.verdict.differences import paired_difference
from klsearch.vae.diagnostics.gates import final_kl, judge
from klsearch.vae.evaluation.evaluator import Members
from klsearch.vae.hyperparameters import AFTER, BEFORE, Hyperparameters
from tests.benchmarks import cases

PRECISIONS = ("float32", "mixed_bfloat16")
_GOOD = replace(AFTER, annealing_epochs=3, encoder_dropout=0.1)
STUDIES = {
    "digits": (Layout(slots=16, together=8), replace(_GOOD, kl_weight=0.1)),
    "clothes": (Layout(slots=2, together=1), replace(_GOOD, kl_weight=0.5)),
}


class Runs(UnsharedSource):
    """Trainings as a source of jobs; their results by number."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._jobs = [Job(number=number, run=run) for number, run in enumerate(runs)]
        self.results: dict[int, Result] = {}

    def go_on(self, checkpoint: Checkpoint) -> dict[int, Job]:
        """None: no checkpoint is kept."""
        del checkpoint
        return {}

    def take(self, free: int) -> list[Job]:
        """The next ones."""
        taken, self._jobs = self._jobs[:free], self._jobs[free:]
        return taken

    def finish(self, finished: Mapping[int, Result], member: Callable[[int], Members]) -> None:
        """Keep the results."""
        del member
        self.results |= finished


def trained(loaded: LoadedDefinition, layout: Layout, runs: Sequence[Run]) -> list[Result]:
    """The results of some trainings under a definition."""
    data = load_data(loaded.definition, loaded.folder)
    network = build_network(loaded.definition, data, loaded.folder)
    population = build_population(loaded.definition, network, data, layout)
    population.compile()
    source, epochs = Runs(runs), loaded.definition.training.epochs
    Trainer(population, epochs=epochs, watch=lambda _: None, stop=lambda: False).train(source)
    return [source.results[number] for number in range(len(runs))]


def main(seeds: int) -> None:
    """Train both ways, study by study, and compare."""
    take_this_process()
    load_tensorflow()
    for name, (layout, good) in STUDIES.items():
        settings: dict[str, Hyperparameters] = {"before": BEFORE, "after": AFTER, "in the band": good}
        runs = [
            Run(hyperparameters=chosen, seed=confirmation_seed(0, seed), label=label)
            for label, chosen in settings.items()
            for seed in range(seeds)
        ]
        found: dict[str, dict[str, np.ndarray]] = {}
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                path = cases.CASES[name].write(Path(folder))
                text = path.read_text(encoding="utf-8").replace("[training]", f'[training]\nprecision = "{precision}"')
                path.write_text(text, encoding="utf-8")
                loaded = override(load_definition(str(path)))
            results = trained(loaded, layout, runs)
            thresholds = loaded.definition.thresholds()
            measures = [result.measures["validation"] for result in results]
            passed = [
                all(gate.passed for gate in judge(result.curves, measured, thresholds))
                for result, measured in zip(results, measures, strict=True)
            ]
            found[precision] = {
                "KL": np.array([final_kl(result.curves, thresholds.window) for result in results]),
                "unexplained": np.array([measured.unexplained for measured in measures]),
                "passed": np.array(passed),
                "seconds": np.array([result.seconds for result in results]),
            }
        for index, label in enumerate(settings):
            rows = slice(index * seeds, (index + 1) * seeds)
            full, half = ({key: values[rows] for key, values in found[p].items()} for p in PRECISIONS)
            print(f"{name}, {label}:")
            for key in ("KL", "unexplained"):
                difference = paired_difference(dict(enumerate(half[key])), dict(enumerate(full[key])))
                print(
                    f"  {key}: {full[key].mean():.4f} (sd {full[key].std(ddof=1):.4f}) and {half[key].mean():.4f} "
                    f"(sd {half[key].std(ddof=1):.4f}); difference {difference.mean:+.4f} "
                    f"({difference.low:+.4f} to {difference.high:+.4f})"
                )
            print(
                f"  passed: {full['passed'].sum()} and {half['passed'].sum()} of {seeds}; "
                f"seconds: {np.median(full['seconds']):.2f} and {np.median(half['seconds']):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
