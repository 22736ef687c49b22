"""klsearch beside the loops that people write: `make bench`. Prints a table and writes build/bench.json.

With `proof` as its first argument, how soon a setting is proven: see `tests.benchmarks.proof`. With `advice`, where
following the first advice leads: see `tests.benchmarks.advice`. With `gpu`, the same beside Keras on a card: see
`tests.benchmarks.gpu`.

All contenders get the same rows, model, epochs, batch size and search space, one after the other in one process tree.
Plain Keras runs at the fastest of its settings (compiled by XLA or not, steps per execution up to a whole epoch),
probed with two trials each. Its whole commands are reckoned from its seconds per trial, which stay the same; those of
klsearch are run.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from klsearch.search.running.versions import provenance
from tests.benchmarks import cases
from tests.benchmarks.report import measure_report

_OUTPUT = Path("build/bench.json")
_KLSEARCH = str(Path(sys.executable).with_name("klsearch"))
_LONG_TRIALS = 1000
_MEMORY_TRIALS = 100
_ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(slots=True)
class Run:
    """One `klsearch run`.

    Attributes:
        seconds: of the whole command.
        training: seconds in which its population trained.
        peak: memory, MB.
        memory: MB by the number of trials that had finished.
        said: lines for the user.
    """

    seconds: float = 0.0
    training: float = 0.0
    peak: float = 0.0
    memory: dict[int, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def klsearch(definition: Path, trials: int) -> Run:
    """A fresh study of so many trials, without confirmation."""
    run, out = Run(), definition.parent / f"run-{trials}-{time.monotonic_ns()}"
    command = [_KLSEARCH, "run", str(definition), "--trials", str(trials), "--no-confirm"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--no-progress", "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=_ENVIRONMENT,
    )  # fmt: skip

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            run.said.append(line)
            if match := re.match(r"trials (\d+)/", line):
                run.memory[int(match[1])] = _resident(process.pid)

    listener = threading.Thread(target=listen)
    listener.start()
    _, status, usage = os.wait4(process.pid, 0)
    listener.join()
    assert status == 0, "".join(run.said)
    run.seconds, run.peak = time.perf_counter() - began, usage.ru_maxrss / 1024
    told = subprocess.run([_KLSEARCH, "trials", str(out), "--json"], capture_output=True, text=True, check=True)
    rows = json.loads(told.stdout)["trials"]
    slots = json.loads(_status(out))["slots"]
    # A trial's seconds are its ticks' wall time ÷ K, so those of the empty slots of the last wave are missing.
    run.training = sum(row["seconds"] for row in rows) * (-(-trials // slots) * slots / trials)
    return run


def _status(out: Path) -> str:
    command = [_KLSEARCH, "status", str(out), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _resident(process: int) -> float:
    try:
        return float(psutil.Process(process).memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return float("nan")


def loop(module: str, definition: Path, trials: int, jit_compile: bool, steps: int) -> list[float]:
    """Seconds of each trial of a loop of plain Keras, the first left out: it also pays for the start."""
    command = [sys.executable, "-m", f"tests.benchmarks.loops.{module}", str(definition), str(trials), str(jit_compile)]
    done = subprocess.run([*command, str(steps)], capture_output=True, text=True, env=_ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1])[1:])


def fastest(definition: Path) -> tuple[bool, int]:
    """The settings at which plain Keras is fastest here."""
    probes = {
        (jit_compile, steps): min(loop("keras_loop", definition, 2, jit_compile, steps))
        for jit_compile in (False, True)
        for steps in (1, 10_000)
    }
    return min(probes, key=lambda settings: probes[settings])


def sgemm() -> float:
    """The machine's rate of large matrix products, GFLOP/s."""
    command = [sys.executable, "-m", "tests.benchmarks.machine"]
    return float(subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=True).stdout)


def measure(name: str, case: cases.Case, *, keras_tuner: bool) -> dict[str, Any]:
    """All contenders on one case."""
    with tempfile.TemporaryDirectory() as folder:
        definition = case.write(Path(folder))
        loaded, splits = cases.load(definition)
        rate = sgemm()
        jit_compile, steps = fastest(definition)
        keras = statistics.median(loop("keras_loop", definition, case.keras_trials, jit_compile, steps))
        tuner = (
            statistics.median(loop("keras_tuner_loop", definition, case.keras_trials, jit_compile, steps))
            if keras_tuner and case.keras_tuner
            else None
        )
        few, many = (klsearch(definition, trials) for trials in case.trials)
        further = (many.seconds - few.seconds) / (case.trials[1] - case.trials[0])
        training = many.training / case.trials[1]
        products = cases.training_products(loaded, len(splits["train"])) / 1e9
        keras_again = statistics.median(loop("keras_loop", definition, case.keras_trials, jit_compile, steps))
        keras = (keras + keras_again) / 2  # one side before, one after: a machine drifts
        return {
            "case": name,
            "sgemm_gflops": (rate + sgemm()) / 2,
            "keras": {"seconds_per_trial": keras, "jit_compile": jit_compile, "steps_per_execution": steps},
            "keras_tuner": {"seconds_per_trial": tuner},
            "klsearch": {
                "seconds_per_further_trial": further,
                "training_seconds_per_trial": training,
                "whole_command_seconds": dict(zip(case.trials, (few.seconds, many.seconds), strict=True)),
                "start_seconds": few.seconds - further * case.trials[0],
                "share_not_training": 1 - many.training / many.seconds,
                "peak_mb": many.peak,
            },
            "ratio_further_trial": keras / further,
            "ratio_whole_command": keras * case.trials[0] / few.seconds,
            "gflops_while_training": products / training if "conv" not in name else None,
        }


def long_study() -> dict[str, Any]:
    """What a thousand trials cost beside their training, and whether memory grows."""
    with tempfile.TemporaryDirectory() as folder:
        run = klsearch(cases.CASES["digits"].write(Path(folder)), _LONG_TRIALS)
    first = next(memory for done, memory in sorted(run.memory.items()) if done >= _MEMORY_TRIALS)
    last = [memory for _, memory in sorted(run.memory.items()) if memory == memory][-1]
    return {
        "trials": _LONG_TRIALS,
        "seconds": run.seconds,
        "share_not_training": 1 - run.training / run.seconds,
        "memory_mb": {"at trial 100": first, "at the end": last},
        "memory_growth": last / first - 1,
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The measurements as text."""
    heads = ("Keras", "K. Tuner", "klsearch", "ratio", "whole", "start", "not train.", "of sgemm", "peak")
    lines = [f"{'case':10}" + "".join(f"{head:>11}" for head in heads)]
    for result in results:
        ours, rate = result["klsearch"], result["gflops_while_training"]
        tuner = result["keras_tuner"]["seconds_per_trial"]
        cells = (
            f"{result['keras']['seconds_per_trial']:.3f} s",
            f"{tuner:.3f} s" if tuner else "–",
            f"{ours['seconds_per_further_trial']:.3f} s",
            f"{result['ratio_further_trial']:.1f}×",
            f"{result['ratio_whole_command']:.1f}×",
            f"{ours['start_seconds']:.1f} s",
            f"{ours['share_not_training']:.0%}",
            f"{rate / result['sgemm_gflops']:.0%}" if rate else "–",
            f"{ours['peak_mb']:.0f} MB",
        )
        lines.append(f"{result['case']:10}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def main(names: Sequence[str]) -> None:
    """Measure the cases named, or all, the long study and a long report; what is known is written after each."""
    chosen = names or [*cases.CASES, "long", "report"]
    found: dict[str, Any] = {"machine": provenance(), "cases": []}
    _OUTPUT.parent.mkdir(exist_ok=True)
    for name in chosen:
        if name == "long":
            found["long"] = long_study()
        elif name == "report":
            found["report"] = measure_report()
        else:
            found["cases"].append(measure(name, cases.CASES[name], keras_tuner=True))
        _OUTPUT.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if found["cases"]:
        print(table(found["cases"]))
    for name in ("long", "report"):
        if name in found:
            print(json.dumps(found[name], indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["proof"]:
        from tests.benchmarks import proof

        proof.main(sys.argv[2:])
    elif sys.argv[1:2] == ["advice"]:
        from tests.benchmarks import advice

        advice.main(sys.argv[2:])
    elif sys.argv[1:2] == ["gpu"]:
        from tests.benchmarks import gpu

        gpu.main(sys.argv[2:])
    else:
        main(sys.argv[1:])
