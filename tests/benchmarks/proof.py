"""How soon a setting is proven, what that costs and how good it is, beside the first release and a loop of Keras.

    python -m tests.benchmarks proof [CASE …] [--seeds N] [--only CONTENDER] [--first-release FOLDER]

Contenders, by turns on every study seed, one process at a time: the first release, from git; this one as templates have
it (stop = "decided"), and with either pruner; this one with random search (stop = "budget"), proven alike; and the
loop that people write: Optuna and a fresh Keras model for every trial, the best single score, then eight retrainings.

Of that loop, seconds are reckoned: start and first trial, measured, and the median of three further ones for each of
the others. What it chooses comes of the same course in this engine: its sampler and score, one trial after the other,
each on a seed of its own. Everything else is measured.

What the winners of one study seed are worth is measured in one population, together with a reference, a setting found
by hand: on 16 seeds that no study used, on the validation rows of their split, which the study seed draws. Quality is
the mean `unexplained` (2 for what diverges) less the reference's there, above the least such difference of the case:
that of the best setting known, of those that truly pass if any does. A winner truly passes if it passes all gates on
at least 15 of the 16 seeds.

build/proof.json is written after every study. What it holds of the same commit, with the same uncommitted changes, is
not measured again. The first study of a release in a process follows one that does not count, so that files are cached.
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

from klsearch.search.layout import Layout
from klsearch.search.running.versions import provenance
from klsearch.search.seeds import confirmation_seed, trial_seed
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import known_place
from klsearch.search.storage.rows import Run
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.tensorflow import load_tensorflow, take_this_process
from klsearch.search.trials.sampling import distributions_of
from klsearch.studies.definitions.catalog import load_definition
from klsearch.studies.definitions.data import load_data
from klsearch.studies.files import write_atomically
from klsearch.vae.diagnostics.gates import judge
from klsearch.vae.hyperparameters import Hyperparameters
from tests.benchmarks.__main__ import fastest, loop
from tests.benchmarks.cases import PROOFS

_ROOT = Path(__file__).parents[2]
_OUTPUT = Path("build/proof.json")
_FIRST_COMMIT = "41067a32025f149aa091ae87471d5fd091134014"
_LIBRARIES = ("tensorflow", "keras", "optuna", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
FIRST, OURS, PRUNED, HALVED, RANDOM = "first release", "this one", "median pruner", "halving", "random search"
LOOP, REFERENCE = "Keras loop", "reference"
# What each adds to `[study]`; the first release would refuse `stop`.
_ADDED = {
    FIRST: "",
    OURS: 'stop = "decided"',
    PRUNED: 'stop = "decided"\npruner = "median"',
    HALVED: 'stop = "decided"\npruner = "successive_halving"',
    RANDOM: 'stop = "budget"\nsampler = "random"',
    LOOP: "",
}
_KERAS_TRIALS, _RETRAININGS = 4, 8
_JUDGE = 4_000_000_000  # the study seed, of no study, from which the seeds that judge are derived
_SEEDS, _ENOUGH, _WORST = 16, 15, 2.0

Study = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Release:
    """A release: the folder that it is imported from, and the module of its command line."""

    root: Path
    module: str

    def run(self, *arguments: str | Path) -> str:
        """One command; what it printed."""
        return self.python(f"import sys; from {self.module} import main; sys.exit(main())", *arguments)

    def python(self, code: str, *arguments: str | Path) -> str:
        """Run code that imports this release: neither the working folder nor what is installed comes before it."""
        environment = {name: value for name, value in os.environ.items() if name != "KLSEARCH_STORAGE"}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(self.root), "PYTHONSAFEPATH": "1"}
        return _output([sys.executable, "-c", code, *map(str, arguments)], environment)


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_release(folder: Path) -> Release:
    """The first release in a folder, taken from git if it is not there, with the libraries of its own lock.

    This interpreter runs it: its packages are `search`, `vae` and so on, ours are all below `klsearch`.
    """
    if not (folder / "search" / "cli.py").exists():
        archive = subprocess.run(["git", "archive", _FIRST_COMMIT], cwd=_ROOT, capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
    release = Release(folder.resolve(), "search.cli")
    found = release.python(
        "import search.cli, sys, vae; print(search.cli.__file__, vae.__file__, *sys.modules)"
    ).split()
    assert all(Path(file).is_relative_to(release.root) for file in found[:2]) and "klsearch" not in found, found
    lock = (folder / "requirements.lock").read_text(encoding="utf-8")
    here = [f"{name}=={importlib.metadata.version(name)}" for name in _LIBRARIES]
    other = [one for one in here if f"\n{one} " not in lock]
    assert not other, f"{', '.join(other)}: not in the first release's lock, so give an environment of its own"
    return release


@cache
def warm_up(release: Release) -> None:
    """A small study that does not count, of another shape: no slots that a later one might remember are measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = PROOFS["table"].write(Path(folder), seed=0)
        path.write_text(path.read_text(encoding="utf-8").replace("[64, 32]", "[12]"), encoding="utf-8")
        release.run("run", path, "--trials", "2", "--no-progress", "--out", Path(folder) / "run")


def run_study(release: Release, name: str, seed: int, added: str) -> Study:
    """One whole command, and what it came to."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = PROOFS[name].write(Path(folder), seed, added), Path(folder) / "run"
        began = time.perf_counter()
        release.run("run", path, "--no-progress", "--out", out)
        seconds = time.perf_counter() - began
        best = json.loads(release.run("best", out, "--json"))
        return {"seconds": seconds, **_trainings(out), "verdict": best["verdict"], "settings": best["hyperparameters"]}


def _trainings(out: Path) -> Study:
    """How many trainings a run folder of any release holds, and epochs of them all: pruned and failing ones too."""
    place = known_place(str(out))
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        trials, proof = (
            [row.result.curves.epochs for row in rows if row.result is not None]
            for rows in (study.rows(), study.confirmation().rows())
        )
    return {"trials": len(trials), "confirmations": len(proof), "epochs": sum(trials) + sum(proof)}


@cache
def _fastest(name: str) -> tuple[bool, int]:
    """The settings at which plain Keras is fastest on a case."""
    with tempfile.TemporaryDirectory() as folder:
        return fastest(PROOFS[name].write(Path(folder), seed=0))


def run_loop(name: str, seed: int) -> Study:
    """The loop that people write: its seconds reckoned from a few trials, its choice found in this engine."""
    jit_compile, steps = _fastest(name)
    with tempfile.TemporaryDirectory() as folder:
        path = PROOFS[name].write(Path(folder), seed)
        began = time.perf_counter()
        further = loop("keras_loop", path, _KERAS_TRIALS, jit_compile, steps)
        start = time.perf_counter() - began - sum(further)  # with the first trial
        settings = _child("search", path)
        definition = load_definition(path).definition
    trials, trainings = definition.study.trials, definition.study.trials + _RETRAININGS
    return {
        "seconds": start + (trainings - 1) * statistics.median(further),
        "reckoned from": {"start": start, "trials": further},
        "trials": trials,
        "confirmations": _RETRAININGS,
        "epochs": trainings * definition.training.epochs,
        "verdict": "seconds reckoned",
        "settings": settings,
    }


def judge_winners(name: str, seed: int, studies: Sequence[Study]) -> None:
    """Add to studies of one seed what their settings are worth on its split, where that is not known."""
    wanted = [study for study in studies if "unexplained" not in study]
    if wanted:
        with tempfile.TemporaryDirectory() as folder:
            path = PROOFS[name].write(Path(folder), seed)
            found = _child("judge", path, name, json.dumps([study["settings"] for study in wanted]))
        for study, worth in zip(wanted, found, strict=True):
            study |= worth


def _child(*arguments: str | Path) -> Any:
    """What a process of its own finds: this one never loads TensorFlow, whose memory the contenders would miss."""
    return json.loads(_output([sys.executable, "-m", "tests.benchmarks.proof", *map(str, arguments)]).splitlines()[-1])


def child_judge(path: Path, name: str, settings: Sequence[Mapping[str, Any]]) -> list[Study]:
    """In a child: by seed, what each setting leaves unexplained and whether it passes all gates."""
    from tests.benchmarks.precision import trained

    case, loaded = PROOFS[name], load_definition(path)
    wanted = [Hyperparameters.from_json(values) for values in settings]
    seeds = [confirmation_seed(_JUDGE, index) for index in range(_SEEDS)]
    runs = [Run(hyperparameters=one, seed=seed, label="") for one in dict.fromkeys(wanted) for seed in seeds]
    found: dict[Hyperparameters, Study] = {one: {"unexplained": [], "passed": []} for one in wanted}
    for run, result in zip(runs, trained(loaded, Layout(case.slots, case.together), runs), strict=True):
        measures, worth = result.measures.get("validation"), found[run.hyperparameters]
        gates = judge(result.curves, measures, loaded.definition.thresholds())
        worth["unexplained"].append(_WORST if measures is None else min(_WORST, measures.unexplained))
        worth["passed"].append(all(gate.passed for gate in gates))
    return [found[one] for one in wanted]


def child_search(path: Path) -> Study:
    """In a child: the settings of the best score in the course of `tests.benchmarks.loops.keras_loop`."""
    from klsearch.search.training.models import build_network, build_population

    loaded = load_definition(path)
    definition, data = loaded.definition, load_data(loaded.definition, loaded.folder)
    population = build_population(definition, build_network(definition, data, loaded.folder), data, Layout(1, 1))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=definition.study.seed))
    for number in range(definition.study.trials):
        trial = study.ask(distributions_of(definition.space.searched()))
        population.start(0, definition.hyperparameters(trial.params), trial_seed(definition.study.seed, number))
        while population.epoch(0) < definition.training.epochs:
            population.advance()
        curves = population.curves(0)
        kl, reconstruction = float(curves.validation_kl[-1]), float(curves.validation_reconstruction[-1])
        score = math.nan if math.isnan(kl) else reconstruction + 10 * max(0.0, kl - 5)
        if math.isfinite(score):
            study.tell(trial, score)
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return definition.hyperparameters(study.best_params).as_json()


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean (Student's t); infinite for fewer than two.

    >>> [round(bound, 4) for bound in interval([1.0, 2.0, 3.0])]  # 2 ± 4.3027 / √3
    [-0.4841, 4.4841]
    >>> interval([1.0])
    (-inf, inf)
    """
    if len(differences) < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences))
    return float(np.mean(differences)) - half, float(np.mean(differences)) + half


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float:
    """The median of the ratios, seed by seed; NaN without a pair.

    >>> ratio({0: 1.0, 1: 9.0, 2: 2.0}, {0: 2.0, 1: 3.0, 2: 2.0, 3: 1.0})  # of 0.5, 3 and 1
    1.0
    """
    return statistics.median([ours[seed] / theirs[seed] for seed in ours.keys() & theirs.keys()] or [math.nan])


def above_best(studies: Sequence[Study]) -> list[float]:
    """By how much each study's mean `unexplained` lies above the best setting's, both less the reference's there.

    >>> studies = [
    ...     {"contender": REFERENCE, "seed": 0, "unexplained": [0.25, 0.75], "passed": [True] * 15},
    ...     {"contender": OURS, "seed": 0, "unexplained": [0.25, 0.25], "passed": [True] * 15},
    ...     {"contender": REFERENCE, "seed": 1, "unexplained": [2.0, 1.0], "passed": [True] * 15},
    ...     {"contender": OURS, "seed": 1, "unexplained": [1.0, 1.0], "passed": [True] * 14},
    ... ]
    >>> above_best(studies)  # of 0, −0.25, 0 and −0.5, the last of which does not pass
    [0.25, 0.0, 0.25, -0.25]
    """
    means = {(one["contender"], one["seed"]): statistics.fmean(one["unexplained"]) for one in studies}
    less_reference = [means[one["contender"], one["seed"]] - means[REFERENCE, one["seed"]] for one in studies]
    both = zip(studies, less_reference, strict=True)
    best = min([value for one, value in both if sum(one["passed"]) >= _ENOUGH] or less_reference)
    return [value - best for value in less_reference]


def table(name: str, studies: Sequence[Study]) -> str:
    """What was measured on a case, as text; `unexplained` in thousandths.

    >>> rows = [(FIRST, 0, 60, 8000, 0.202), (FIRST, 1, 50, 8000, 0.204), (REFERENCE, 0, 0, 0, 0.21)]
    >>> rows += [(OURS, 0, 15, 4000, 0.2), (OURS, 1, 25, 2000, 0.206), (REFERENCE, 1, 0, 0, 0.21)]
    >>> print(table("digits", [
    ...     {"contender": who, "seed": seed, "seconds": seconds, "epochs": epochs,
    ...      "unexplained": [value] * 16, "passed": [seed == 0] * 16}
    ...     for who, seed, seconds, epochs, value in rows]))
    digits                  seconds ratio            epochs ratio          above best     less first, 95 %  truly pass
    first release        55 (50–60)  1.00  8000 (8000–8000)  1.00    3.0 (2.0 to 4.0)                    –    1/2  50%
    this one             20 (15–25)  0.38  3000 (2000–4000)  0.38    3.0 (0.0 to 6.0)  0.0 (-25.4 to 25.4)    1/2  50%
    """
    heads = f"{'seconds':>17}{'ratio':>6}{'epochs':>18}{'ratio':>6}{'above best':>20}"
    lines = [f"{name:14}{heads}{'less first, 95 %':>21}{'truly pass':>12}"]
    by_name: dict[str, dict[int, Study]] = {}
    for study, above in zip(studies, above_best(studies), strict=True):
        by_name.setdefault(study["contender"], {})[study["seed"]] = {**study, "quality": 1000 * above}
    lines += [_row(one, by_name[one], by_name.get(FIRST, {})) for one in _ADDED if one in by_name]
    return "\n".join(lines)


def _row(contender: str, ours: Mapping[int, Study], first: Mapping[int, Study]) -> str:
    cells = f"{contender:14}"
    for key, width in (("seconds", 17), ("epochs", 18)):
        mine, theirs = ({seed: study[key] for seed, study in side.items()} for side in (ours, first))
        cells += f"{_spread(list(mine.values()), '.0f'):>{width}}{ratio(mine, theirs):>6.2f}"
    cells += f"{_spread([study['quality'] for study in ours.values()], '.1f', ' to '):>20}"
    differences = [ours[seed]["quality"] - first[seed]["quality"] for seed in ours.keys() & first.keys()]
    low, high = interval(differences)
    mean = (
        f"{statistics.fmean(differences):.1f} ({low:.1f} to {high:.1f})"
        if math.isfinite(low) and contender != FIRST
        else "–"
    )
    passed = [sum(study["passed"]) for study in ours.values()]
    truly = f"{sum(count >= _ENOUGH for count in passed)}/{len(passed)}"
    return f"{cells}{mean:>21}{truly:>7}{statistics.fmean(passed) / _SEEDS:>5.0%}"


def _spread(values: Sequence[float], form: str, to: str = "–") -> str:
    """Median, least and most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}{to}{max(values):{form}})"


class Record:
    """What is measured, in build/proof.json; what it holds of other commits stays there."""

    def __init__(self) -> None:
        held = json.loads(_OUTPUT.read_text(encoding="utf-8")) if _OUTPUT.exists() else {"studies": []}
        self._studies: list[Study] = held["studies"]
        self._commit = _commit()

    def of(self, name: str, seeds: int) -> list[Study]:
        """The studies of a case on the first so many study seeds."""
        here = [one for one in self._studies if one["commit"] == self._commit and one["case"] == name]
        return [one for one in here if one["seed"] < seeds]

    def of_seed(self, name: str, seed: int) -> dict[str, Study]:
        """The studies of a case on one study seed, by contender."""
        return {one["contender"]: one for one in self.of(name, seed + 1) if one["seed"] == seed}

    def add(self, name: str, contender: str, seed: int, found: Study) -> None:
        """Keep a study."""
        self._studies.append({"commit": self._commit, "case": name, "contender": contender, "seed": seed, **found})
        self.write()

    def write(self) -> None:
        """Write the file anew."""
        write_atomically(_OUTPUT, json.dumps({"machine": provenance(), "studies": self._studies}, indent=1))


def _commit() -> str:
    """The commit that is checked out, with a digest of what is changed and not committed."""
    commit, changes = (_output(["git", "-C", str(_ROOT), *what]) for what in (("rev-parse", "HEAD"), ("diff", "HEAD")))
    return commit.strip() + (f"+{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else "")


def measure(name: str, seed: int, contenders: Sequence[str], releases: Mapping[str, Release], record: Record) -> None:
    """Run the studies of one seed that are not there yet, one after the other, and judge them."""
    for contender in contenders:
        added = _ADDED[contender]
        if contender in record.of_seed(name, seed):
            continue
        if release := releases.get(contender):
            warm_up(release)
            found = run_study(release, name, seed, added)
        else:
            found = run_loop(name, seed)
        record.add(name, contender, seed, found)
        trainings = f"{found['trials']} + {found['confirmations']} trainings, {found['epochs']} epochs"
        _say(f"{name}, seed {seed}, {contender}: {found['seconds']:.1f} s, {trainings}, {found['verdict']}")
    if REFERENCE not in record.of_seed(name, seed):
        record.add(name, REFERENCE, seed, {"settings": PROOFS[name].reference.as_json()})
    _say(f"{name}, seed {seed}: training the winners on {_SEEDS} unused seeds")
    judge_winners(name, seed, list(record.of_seed(name, seed).values()))
    record.write()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Measure the cases named, or all of them, and print a table of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks proof")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(PROOFS)}; all by default")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="study seeds (5)")
    parser.add_argument("--only", action="append", choices=_ADDED, metavar="CONTENDER", help="may be repeated; all")
    parser.add_argument("--first-release", type=Path, default=Path("build/first-release"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.cases if name not in PROOFS]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(PROOFS)}")
    ours = Release(_ROOT / "src", "klsearch.search.cli")
    releases = {FIRST: first_release(options.first_release), **dict.fromkeys((OURS, PRUNED, HALVED, RANDOM), ours)}
    record = Record()
    for name in options.cases or PROOFS:
        for seed in range(options.seeds):  # contenders by turns, so that a machine's drift hits them all
            measure(name, seed, options.only or list(_ADDED), releases, record)
        print(table(name, record.of(name, options.seeds)), end="\n\n", flush=True)
    print(
        f"Median (least–most) of {options.seeds} study seeds; ratios to the first release, of pairs. Above best, less\n"
        f"first: mean `unexplained` on {_SEEDS} unused seeds, in thousandths, above the best's, and less the first\n"
        f"release's (mean of pairs). Truly pass: on {_ENOUGH} of these seeds or more; beside it, of all seeds.\n"
        "The Keras loop's seconds are reckoned."
    )


if __name__ == "__main__":
    take_this_process()
    load_tensorflow()
    task, path, *given = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    print(json.dumps(child_search(path) if task == "search" else child_judge(path, given[0], json.loads(given[1]))))
