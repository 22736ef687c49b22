"""A user who follows the first advice: `python -m tests.benchmarks advice`. Prints a table, writes build/advice.json.

Every ill is a definition that disappoints. It is run through the command line; what `next` of `klsearch best --json`
says is put into the definition, or run where it is a command; and again, at most three times.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

_OUTPUT = Path("build/advice.json")
_KLSEARCH = [sys.executable, "-c", "from klsearch.search.cli import main; main()"]
_ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
_ROUNDS = 3

_DIGITS = {"source": "digits", "rows": 700, "scaling": "standard"}
_TABLE = {"source": "table.csv", "scaling": "standard"}


def _log(low: float, high: float) -> dict[str, Any]:
    return {"low": low, "high": high, "log": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ill:
    """What is wrong with a definition; all else is that of a small study that is stable."""

    study: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=lambda: _DIGITS)
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Any] = field(default_factory=dict)

    def definition(self) -> dict[str, Any]:
        """The definition, as tables."""
        return {
            "study": {"name": "ill", "trials": 20, "kl_band": [0.1, 5.0], **self.study},
            "data": dict(self.data),
            "model": {"kind": "dense", "hidden": [64], "latent_dim": 4, **self.model},
            "training": {"epochs": 40, "batch_size": 64, "learning_rate": 3e-3, **self.training},
            "space": {"kl_weight": _log(0.1, 10.0), "annealing_epochs": {"low": 0, "high": 5}, **self.space},
            "confirmation": {"seeds": 8, "top": 2},
            "gates": dict(self.gates),
        }


ILLS = {
    "diverging": Ill(training={"learning_rate": 1.0}),
    "collapsing": Ill(space={"kl_weight": _log(100.0, 10_000.0)}),
    "unsettled": Ill(data=_TABLE, model={"hidden": [32]}, training={"epochs": 12, "learning_rate": 1e-3}),
    "below the band": Ill(study={"kl_band": [2.5, 4.0]}, space={"kl_weight": _log(5.0, 20.0)}),
    "above the band": Ill(study={"kl_band": [0.1, 1.5]}, space={"kl_weight": _log(1e-4, 1e-2)}),
    "overfitting": Ill(
        data={**_DIGITS, "rows": 150}, model={"hidden": [512, 256]}, space={"kl_weight": _log(1e-3, 0.03)},
        study={"kl_band": [0.1, 30.0]},
    ),
    "too few trials": Ill(study={"trials": 8}),
    "edge": Ill(space={"kl_weight": _log(8.0, 20.0)}),
    "fewer rows than columns": Ill(data={"source": "wide.npy"}, model={"hidden": [256]}),
    "unscaled": Ill(data={**_TABLE, "scaling": "none"}, model={"hidden": [32]}, space={"kl_weight": _log(1e-5, 10.0)}),
    "wrong likelihood": Ill(data={"source": "grey.npy", "scaling": "none"}, model={"likelihood": "bernoulli"}),
    "bad gates": Ill(gates={"max_kl_slope": 1e-4}),
    "too short annealing": Ill(
        model={"hidden": [128, 64, 32], "activation": "sigmoid"},
        space={"kl_weight": _log(2.0, 10.0), "annealing_epochs": 0},
    ),
    "too little after annealing": Ill(training={"epochs": 12}, space={"annealing_epochs": {"low": 6, "high": 7}}),
}  # fmt: skip


def write_data(folder: Path) -> None:
    """The data of the ills: a table of cells, few rows of many columns, and pictures that are nearly grey."""
    from sklearn.datasets import load_breast_cancer, load_digits

    load_breast_cancer(as_frame=True).data.to_csv(folder / "table.csv", index=False)
    draw = np.random.default_rng(0)
    factors, loadings = draw.normal(size=(120, 3)), draw.normal(size=(3, 200))
    np.save(folder / "wide.npy", (factors @ loadings + draw.normal(size=(120, 200))).astype(np.float32))
    np.save(folder / "grey.npy", (0.48 + load_digits().data[:700] / 16 * 0.04).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Round:
    """One study of the player's: what was said of it."""

    seconds: float
    verdict: str
    sentence: str
    next: Mapping[str, str]


def follow(definition: dict[str, Any], code: str) -> dict[str, Any]:
    """The definition with the TOML of an advice put in: key by key, a table's other keys stay."""
    changed = {name: dict(table) for name, table in definition.items()}
    for name, table in tomlkit.parse(code).unwrap().items():
        for key, value in table.items():
            kept = changed.setdefault(name, {})
            kept[key] = value
    return changed


def _command(folder: Path, *words: str) -> str:
    done = subprocess.run([*_KLSEARCH, *words], capture_output=True, text=True, env=_ENVIRONMENT, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def play(ill: Ill, folder: Path) -> list[Round]:
    """Run, read, follow the first advice, and again; ends where nothing is left to do, at most three times."""
    definition, rounds, out = ill.definition(), list[Round](), folder / "round-0"
    words = ["run", "study.toml", "--out", str(out)]
    while True:
        (folder / "study.toml").write_text(tomlkit.dumps(definition), encoding="utf-8")
        began = time.perf_counter()
        _command(folder, *words, "--no-progress")
        told = json.loads(_command(folder, "best", str(out), "--json"))
        rounds.append(Round(time.perf_counter() - began, told["verdict"], told["sentence"], told["next"]))
        advice = told["next"]
        if len(rounds) > _ROUNDS or advice["code_for"] == "" or told["verdict"] == "stable":
            return rounds
        if advice["code_for"] == "definition":
            definition, out = follow(definition, advice["code"]), folder / f"round-{len(rounds)}"
            words = ["run", "study.toml", "--out", str(out)]
        else:
            words = advice["code"].split()[1:]


def table(played: Mapping[str, Sequence[Round]]) -> str:
    """What was advised first, how many rounds of advice were followed, and how it ended."""
    lines = ["| ill | first verdict | first advice | rounds | end |", "| --- | --- | --- | --- | --- |"]
    for name, rounds in played.items():
        first, last = rounds[0], rounds[-1]
        lines.append(f"| {name} | {first.verdict} | {first.next['action']} | {len(rounds) - 1} | {last.verdict} |")
    return "\n".join(lines)


def main(names: Sequence[str]) -> None:
    """Play the ills named, or all; what is known is written after each."""
    played: dict[str, list[Round]] = {}
    _OUTPUT.parent.mkdir(exist_ok=True)
    for name in names or ILLS:
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder))
            played[name] = play(ILLS[name], Path(folder))
        _OUTPUT.write_text(json.dumps({key: list(map(asdict, one)) for key, one in played.items()}, indent=2))
        print(table({name: played[name]}).splitlines()[-1], flush=True)
    print(table(played))
    print(f"{sum(one[-1].verdict.startswith('stable') for one in played.values())} of {len(played)} end stable")
