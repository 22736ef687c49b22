"""Synthetic studies, made without training: their curves follow simple rules, their gates are judged for real."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest

from klsearch.reports.report import render_comparison, render_report
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import LADDER, rung_settings
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import ConfirmationRun, DataFacts, RunState, StudyRecord, TrialRecord
from klsearch.vae.data.cautions import Caution
from klsearch.vae.diagnostics.curves import TrainingCurves
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, final_kl, judge, kl_slope
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.latent_map import LatentMap, map_latents
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples
from klsearch.vae.hyperparameters import Hyperparameters

LATENTS = 8
EPOCHS = 40
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

SPACE: dict[str, Any] = {
    "kl_weight": {"low": 1e-5, "high": 1.0, "log": True},
    "clip_low": {"low": -20.0, "high": -4.0},
    "clip_high": {"low": 0.5, "high": 4.0},
    "annealing_epochs": {"low": 0, "high": 15},
    "l2": {"low": 1e-6, "high": 1e-2, "log": True},
    "encoder_dropout": {"low": 0.0, "high": 0.5},
}

# Drawn in a third of the time.
TWO_RANGES: dict[str, Any] = {"kl_weight": SPACE["kl_weight"], "encoder_dropout": SPACE["encoder_dropout"]}

CHOSEN: dict[str, Any] = {**TWO_RANGES, "annealing_epochs": 10, "kl_schedule": ["linear", "cosine"]}

TOML = """[study]
name = "digits"  # a comment that must survive
trials = 60

[data]
source = "digits"
"""


def definition(**changes: Any) -> StudyDefinition:
    """A definition of the digits study; `changes` are merged into its tables by name."""
    tables: dict[str, dict[str, Any]] = {
        "study": {"name": "digits", "seed": 1, "trials": 60},
        "data": {"source": "digits"},
        "model": {"kind": "dense", "hidden": [128, 64], "latent_dim": LATENTS},
        "training": {"epochs": EPOCHS},
        "space": SPACE,
    }
    for name, values in changes.items():
        tables[name] = values if name == "space" else {**tables.get(name, {}), **values}
    return StudyDefinition.model_validate(tables)


def draw(asked: StudyDefinition, rng: np.random.Generator) -> Hyperparameters:
    """Settings drawn evenly from the space."""
    values: dict[str, Any] = {}
    for name, space in asked.space.searched().items():
        at = rng.uniform()
        value = space.low * (space.high / space.low) ** at if space.log else space.low + at * (space.high - space.low)
        values[name] = round(value) if space.integer else value
    for name, options in asked.space.choices().items():
        values[name] = options[int(rng.integers(len(options)))]
    return asked.hyperparameters(values)


def train(settings: Hyperparameters, seed: int, epochs: int = EPOCHS) -> tuple[TrainingCurves, Measures | None]:
    """Curves and validation measures as such a VAE might leave them; below a KL weight of 2e-5 it diverges."""
    rng = np.random.default_rng(seed)
    weight = max(settings.kl_weight, 1e-9)
    level = 2.2 * (0.1 / weight) ** 0.35 * rng.lognormal(0, 0.04) * (1 - 0.3 * min(1.0, settings.l2 * 200))
    active = int(np.clip(round(LATENTS * 1.05 * (0.12 / weight) ** 1.2), 0, LATENTS))
    level *= 1.0 if active else 0.002
    floor = 0.06 + 0.1 * settings.encoder_dropout + 0.03 * (LATENTS - active) + 0.05 * weight + rng.normal(0, 0.003)
    epoch = np.arange(1, EPOCHS + 1)
    noise = rng.normal(0, 0.004, size=(3, EPOCHS))
    rise = 1 - np.exp(-epoch / 4) * (1 - 0.5 * np.exp(-epoch / 9))
    unexplained = np.clip(floor + 0.9 * np.exp(-epoch / 5), 0.01, 3) * (1 + noise[0])
    kl = level * rise * (1 + noise[1])
    ramp = np.clip((epoch - 0.5) / max(settings.annealing_epochs, 0.5), 0, 1)
    clip = np.full(EPOCHS, 0.3 if settings.clip_low > -6 and weight < 1e-2 else 0.004)
    rows = {
        "kl": kl * (1 + noise[2]),
        "reconstruction": 11.2 * unexplained * (1 + 0.5 * settings.encoder_dropout),
        "kl_weight": weight * ramp,
        "total": 11.2 * unexplained + weight * ramp * kl + 40 * settings.l2,
        "validation_kl": kl,
        "validation_reconstruction": 12.0 * unexplained,
        "validation_unexplained": unexplained,
        "clip_share_low": clip,
        "clip_share_high": clip / 4,
        "nonfinite_steps": np.zeros(EPOCHS),
    }
    if settings.kl_weight < 2e-5:
        return TrainingCurves.from_rows(_diverged(np.stack(list(rows.values()), axis=1))), None
    curves = TrainingCurves.from_rows(np.stack(list(rows.values()), axis=1)[:epochs])
    return curves, _measures(curves, active, rng)


def _diverged(rows: np.ndarray) -> np.ndarray:
    rows[12:, :9] = np.nan
    rows[12:, 9] = 3
    return rows[:15]


def _measures(curves: TrainingCurves, active: int, rng: np.random.Generator) -> Measures:
    last = curves.latest()
    kl = np.where(np.arange(LATENTS) < active, 1.0, 1e-4) * rng.uniform(0.6, 1.4, LATENTS)
    kl *= last["validation_kl"] / max(float(np.mean(kl)), 1e-12)
    return Measures(
        reconstruction=last["validation_reconstruction"],
        unexplained=last["validation_unexplained"],
        elbo=-30.0 - 12 * last["validation_unexplained"] - LATENTS * last["validation_kl"],
        active_units=active,
        clip_share_low=last["clip_share_low"],
        clip_share_high=last["clip_share_high"],
        kl_mean_part=0.3 * kl,
        kl_variance_part=0.7 * kl,
        prior_mismatch=0.05 * kl,
    )


def judged(asked: StudyDefinition, settings: Hyperparameters, seed: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """All that one finished training leaves, in the words of `TrainingRun`."""
    curves, measures = train(settings, seed, epochs)
    thresholds = asked.thresholds()
    gates = judge(curves, measures, thresholds)
    kl, score = math.nan, 2 + asked.study.penalty
    if measures is not None:
        kl = final_kl(curves, thresholds.window)
        low, high = thresholds.kl_band
        banded = thresholds.banded_kl(kl, LATENTS)
        missed = max(0.0, low - banded, banded - high) / (high - low)
        score = min(measures.unexplained, 2) + asked.study.penalty * missed / (1 + missed)
    return {
        "state": RunState.COMPLETE,
        "hyperparameters": settings,
        "seed": seed,
        "curves": curves,
        "measures": measures,
        "kl": kl,
        "kl_slope": kl_slope(curves, thresholds.window),
        "score": score,
        "gates": gates,
        "seconds": 0.2 + 0.01 * (seed % 7),
    }


def trial(
    asked: StudyDefinition, number: int, settings: Hyperparameters, *, epochs: int = EPOCHS, **changes: Any
) -> TrialRecord:
    """A finished trial of the search."""
    values = judged(asked, settings, 1000 + number, epochs)
    gates = {gate.name: gate.passed for gate in values["gates"]}
    begun = START + timedelta(seconds=2 * number)
    values |= {
        "feasible": all(gates[name] for name in CONSTRAINT_GATES),
        "started": begun,
        "ended": begun + timedelta(seconds=8),
    }
    return TrialRecord(number=number, **(values | changes))


def pruned_trial(asked: StudyDefinition, number: int, settings: Hyperparameters) -> TrialRecord:
    """A trial that the pruner ended when it first looked: measured as it was after a third of its training."""
    epochs = int(settings.annealing_epochs) + math.ceil(EPOCHS / 3)
    return trial(asked, number, settings, epochs=epochs, state=RunState.PRUNED, feasible=False)


def failed_trial(asked: StudyDefinition, number: int, error: str) -> TrialRecord:
    """A trial that ended with an error."""
    settings = draw(asked, np.random.default_rng(number))
    return TrialRecord(
        number=number, state=RunState.FAILED, hyperparameters=settings, seed=number, error=error, seconds=0.05
    )


def running_trial(asked: StudyDefinition, number: int, epoch: int) -> TrialRecord:
    """A trial in training, with its latest epoch's values."""
    settings = draw(asked, np.random.default_rng(number))
    curves, _ = train(settings, number)
    latest = {name: float(values) for name, values in zip(curves.latest(), curves.as_rows()[epoch - 1], strict=True)}
    progress = {**latest, "epoch": float(epoch), "epochs": float(EPOCHS)}
    return TrialRecord(
        number=number, state=RunState.RUNNING, hyperparameters=settings, seed=number, progress=progress, started=START
    )


def searched_trials(asked: StudyDefinition, count: int) -> tuple[TrialRecord, ...]:
    """Trials whose settings are drawn evenly, the first two being the recipe's where there are enough."""
    rng = np.random.default_rng(asked.study.seed)
    return tuple(trial(asked, number, draw(asked, rng)) for number in range(count))


def confirm(study: StudyRecord, seeds: int = 8) -> StudyRecord:
    """The study, its three leading trials raced, and its winner and baselines proven on fresh seeds."""
    asked = study.definition
    leaders = sorted(study.trials, key=lambda t: (not t.feasible, t.score))[:3]
    race = [
        ConfirmationRun(
            candidate=f"trial {t.number}", trial=t.number, **judged(asked, t.hyperparameters, 8000 + seed, EPOCHS)
        )
        for t in leaders
        for seed in range(3)
    ]
    winner = leaders[0]
    proven: dict[str, tuple[int | None, Hyperparameters]] = {
        f"trial {winner.number}": (winner.number, winner.hyperparameters)
    }
    proven |= {name: (None, settings) for name, settings in asked.baseline_hyperparameters().items()}
    runs = []
    for name, (number, settings) in proven.items():
        for seed in range(seeds):
            values = judged(asked, settings, 9000 + seed)
            measures = values["measures"]
            test = None if measures is None else replace(measures, unexplained=measures.unexplained * 1.05)
            runs.append(ConfirmationRun(candidate=name, trial=number, test=test, **values))
    return replace(study, race=tuple(race), confirmation=tuple(runs), winner=winner.number, test_looks=1)


def as_in_first_release(study: StudyRecord) -> StudyRecord:
    """The study as if the seeds of its race were fresh seeds, and the winner chosen on those that prove it."""
    others = [run for run in study.race if run.trial != study.winner]
    return replace(study, procedure=Procedure.OWN_SEEDS, race=(), confirmation=(*study.confirmation, *others))


def study_of(asked: StudyDefinition, trials: tuple[TrialRecord, ...], **changes: Any) -> StudyRecord:
    """A study of these trials, with everything that a real one has around them."""
    values: dict[str, Any] = {
        "name": asked.study.name,
        "definition": asked,
        "definition_toml": TOML,
        "fingerprint": "f" * 64,
        "slots": 8,
        "trials": trials,
        "data": DataFacts(
            rows={"train": 1257, "validation": 270, "test": 270},
            shape=(8, 8),
            scaling="minmax over the training split",
            fingerprint="d" * 64,
        ),
        "provenance": {"klsearch": "0.1.0", "Python": "3.11.2", "TensorFlow": "2.21.0", "processor": "x86_64, 2 cores"},
        "storage": "sqlite:///study.db",
        "resume_command": f"klsearch resume runs/{asked.study.name}",
    }
    return StudyRecord(**(values | changes))


def make_study(trials: int = 60, *, seeds: int = 8, **changes: Any) -> StudyRecord:
    """A finished study; `seeds = 0` leaves it unconfirmed, `changes` are tables of its definition."""
    asked = definition(**changes)
    study = study_of(asked, searched_trials(asked, trials))
    if not seeds or not trials:
        return study
    study = confirm(study, seeds)
    return replace(study, samples=image_samples(study), latent_map=latent_map(study))


def latent_map(study: StudyRecord) -> LatentMap:
    """Sixty rows of ten classes in the latent space of each confirmed model."""
    rng, names = np.random.default_rng(5), image_samples(study).names
    labels = np.arange(60) % 10
    means = {name: rng.normal(size=(60, 8)) + labels[:, np.newaxis] * rng.normal(size=8) for name in names}
    return map_latents(means, {"train": labels, "test": labels}, "test")


def image_samples(study: StudyRecord) -> ImageSamples:
    """Ten smooth images of 8×8 pixels, and the same with noise as what each confirmed model makes of them."""
    rng = np.random.default_rng(4)
    names = (f"trial {study.winner}", *study.definition.baseline_hyperparameters())
    waves = np.sin(np.arange(8) / 2 + rng.uniform(0, 6, size=(10, 8, 1))) + np.cos(np.arange(8) / 3)
    originals = np.rint(255 * (waves + 2) / 4).astype(np.uint8)[..., np.newaxis]

    def noisy(*shape: int) -> np.ndarray:
        noise = rng.normal(0, 20, size=(*shape, 8, 8, 1))
        return np.clip(originals[: shape[-1]] + noise, 0, 255).astype(np.uint8)

    return ImageSamples(
        split="test",
        names=names,
        originals=originals,
        reconstructions=noisy(len(names), 10),
        unexplained=rng.uniform(0.1, 0.3, size=(len(names), 10)),
        prior_samples=noisy(len(names), 10),
        traversal=noisy(6, 7),
        latents=np.array([4, 0, 2, 6, 7, 5]),
        latent_kl=np.array([3.1, 2.5, 2.0, 1.1, 0.6, 0.2]),
        values=np.linspace(-3, 3, 7),
    )


def column_samples(study: StudyRecord, names: Sequence[str]) -> ColumnErrors:
    """Errors of these columns, the worst first."""
    models = (f"trial {study.winner}", *study.definition.baseline_hyperparameters())
    errors = np.linspace(0.9, 0.1, len(names)) * np.linspace(1, 1.5, len(models))[:, np.newaxis]
    return ColumnErrors(split="test", names=models, columns=tuple(names), unexplained=errors, of=len(names))


HOSTILE = '<script>alert(1)</script> </pre> "quoted" `code` $x_1$ {{ 7*7 }} é 漢字'


def hostile_study() -> StudyRecord:
    """A study in which every text that others may choose would be markup if it were not escaped."""
    asked = definition(
        space=TWO_RANGES, baselines={HOSTILE: {"kl_weight": 0.05}, "a name that goes on and on": {"kl_weight": 0.5}}
    )
    trials = (
        *searched_trials(asked, 30),
        *(failed_trial(asked, 30 + n, f"ValueError: {HOSTILE}\n  {n}") for n in (0, 1)),
    )
    study = confirm(study_of(asked, trials))
    return replace(
        study,
        name=HOSTILE,
        definition_toml=HOSTILE,
        storage=HOSTILE,
        resume_command=HOSTILE,
        samples=column_samples(study, [HOSTILE, *(f"column {number}" for number in range(30))]),
        provenance={HOSTILE: HOSTILE},
        data=replace(
            study.data or DataFacts(rows={}, shape=(), scaling="", fingerprint=""), warnings=(Caution(HOSTILE),)
        ),
    )


def exploding_study() -> StudyRecord:
    """A study whose baseline *before* ends at a KL of several thousand."""
    study = make_study(30, space=TWO_RANGES)

    def explode(run: ConfirmationRun) -> ConfirmationRun:
        if run.candidate != "before" or run.curves is None or run.measures is None:
            return run
        rows = run.curves.as_rows() * np.array([400, 3, 1, 9, 400, 3, 3, 1, 1, 0], np.float32)
        parts = {name: 400 * getattr(run.measures, name) for name in ("kl_mean_part", "kl_variance_part")}
        curves = TrainingCurves.from_rows(rows)
        return replace(run, kl=400 * run.kl, curves=curves, measures=replace(run.measures, **parts))

    return replace(study, confirmation=tuple(explode(run) for run in study.confirmation))


def laddered_study() -> StudyRecord:
    """A finished study of the KL weight alone, which began with a ladder of ten rungs; the lowest diverged."""
    asked = definition(space={"kl_weight": SPACE["kl_weight"]})
    rungs = rung_settings(asked, 10)
    first = (trial(asked, number, settings, origin=LADDER) for number, settings in enumerate(rungs))
    rest = (replace(one, number=one.number + len(rungs)) for one in searched_trials(asked, 20))
    return replace(confirm(study_of(asked, (*first, *rest))), ladder=len(rungs))


def running_study() -> StudyRecord:
    """A study that was read while four of its trials trained."""
    asked = definition(space=TWO_RANGES)
    running = tuple(running_trial(asked, 34 + n, 5 + n) for n in range(4))
    return study_of(asked, (*searched_trials(asked, 34), *running))


def bad_study(state: RunState, error: str = "") -> StudyRecord:
    """A study of 30 trials of which none is worth anything: all diverged, pruned or failed."""
    asked, rng = definition(space=TWO_RANGES), np.random.default_rng(0)
    if state is RunState.FAILED:
        return study_of(asked, tuple(failed_trial(asked, n, error) for n in range(30)))
    if state is RunState.PRUNED:
        drawn = [draw(asked, rng) for _ in range(30)]
        return study_of(asked, tuple(pruned_trial(asked, n, _finite(settings)) for n, settings in enumerate(drawn)))
    return study_of(asked, tuple(trial(asked, n, replace(draw(asked, rng), kl_weight=1e-5)) for n in range(30)))


def pruning_study() -> StudyRecord:
    """A study of 60 trials of which every other one was ended early, some that passed every gate till then."""
    asked = definition(space=TWO_RANGES, study={"pruner": "median"})
    whole = searched_trials(asked, 60)
    trials = (pruned_trial(asked, t.number, _finite(t.hyperparameters)) if t.number % 2 else t for t in whole)
    return study_of(asked, tuple(trials))


def _finite(settings: Hyperparameters) -> Hyperparameters:
    """The settings with a KL weight at which no trial diverges."""
    return replace(settings, kl_weight=max(settings.kl_weight, 2e-5))


KINDS: dict[str, Callable[[], StudyRecord]] = {
    "no trials": lambda: make_study(0),
    "one trial": lambda: make_study(1, seeds=0, space=TWO_RANGES),
    "two trials": lambda: make_study(2, space=TWO_RANGES),
    "all failed": lambda: bad_study(RunState.FAILED, "OSError: gone"),
    "all diverged": lambda: bad_study(RunState.COMPLETE),
    "all pruned": lambda: bad_study(RunState.PRUNED),
    "half pruned": pruning_study,
    "one hyperparameter": laddered_study,
    "summed KL": lambda: make_study(30, space=TWO_RANGES, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]}),
    "chosen schedule": lambda: make_study(30, space=CHOSEN),
    "not confirmed": lambda: make_study(seeds=0, space=TWO_RANGES),
    "running": running_study,
    "exploding baseline": exploding_study,
    "hostile": hostile_study,
    "finished": make_study,
}


def many_trials() -> StudyRecord:
    """A study of 10,000 trials, every one with numbers of its own; its curves are those of 200."""
    few = make_study(200, study={"trials": 10_000})
    rng = np.random.default_rng(5)
    trials = tuple(
        replace(
            few.trials[number % 200],
            number=number,
            seed=int(rng.integers(2**63)),
            hyperparameters=replace(few.trials[number % 200].hyperparameters, l2=rng.uniform()),
            score=rng.uniform(),
            seconds=rng.uniform(),
            kl=rng.uniform(0, 50),
            kl_slope=rng.normal(),
        )
        for number in range(10_000)
    )
    return replace(few, trials=trials)


@pytest.fixture(scope="session")
def ten_thousand() -> StudyRecord:
    """`many_trials`."""
    return many_trials()


@cache
def cached_study(kind: str) -> StudyRecord:
    """One of `KINDS`, made once."""
    return KINDS[kind]()


@cache
def cached_html(kind: str) -> str:
    """Its report, rendered once; or the comparison of two of them."""
    if kind == "comparison":
        return render_comparison(cached_study("finished"), cached_study("hostile"))
    return render_report(cached_study(kind))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace(" ", "-"))
def kind(request: pytest.FixtureRequest) -> str:
    """The name of each kind of study that a report has to survive."""
    return str(request.param)


@pytest.fixture
def any_study(kind: str) -> StudyRecord:
    """A study of each kind."""
    return cached_study(kind)


@pytest.fixture
def study_of_kind() -> Callable[[str], StudyRecord]:
    """The study of a kind."""
    return cached_study


@pytest.fixture
def html(kind: str) -> str:
    """The report of a study of each kind."""
    return cached_html(kind)


@pytest.fixture
def html_of() -> Callable[[str], str]:
    """The report of the study of a kind."""
    return cached_html


@pytest.fixture
def study() -> StudyRecord:
    """A finished and confirmed study of 60 trials."""
    return cached_study("finished")


@pytest.fixture
def unconfirmed() -> StudyRecord:
    """A finished study of 60 trials that was not confirmed."""
    return cached_study("not confirmed")


@pytest.fixture
def running() -> StudyRecord:
    """A study with four trials under way."""
    return cached_study("running")


@pytest.fixture
def laddered() -> StudyRecord:
    """A finished study of the KL weight alone, which began with a ladder; its lowest rung diverged."""
    return cached_study("one hyperparameter")


@pytest.fixture
def pruning() -> StudyRecord:
    """A study of 60 trials of which every other one was ended early."""
    return cached_study("half pruned")


def with_diverged(study: StudyRecord, candidate: str, seeds: int) -> StudyRecord:
    """The study in which "winner" or a baseline diverged on its first so many confirmation seeds."""
    curves, measures = train(replace(study.trials[0].hyperparameters, kl_weight=1e-5), 0)
    gates = judge(curves, measures, study.definition.thresholds())
    lost: dict[str, Any] = {"curves": curves, "measures": None, "test": None, "probe": None, "gates": gates}
    lost |= {"kl": math.nan, "kl_slope": math.nan, "score": 2 + study.definition.study.penalty}

    def changed(run: ConfirmationRun) -> ConfirmationRun:
        name = "winner" if run.trial is not None and run.trial == study.winner else run.candidate
        return replace(run, **lost) if name == candidate and run.seed < 9000 + seeds else run

    return replace(study, confirmation=tuple(changed(run) for run in study.confirmation))


@pytest.fixture(scope="session")
def diverged() -> Callable[[StudyRecord, str, int], StudyRecord]:
    """`with_diverged` itself."""
    return with_diverged


@pytest.fixture(scope="session")
def make() -> Callable[..., StudyRecord]:
    """`make_study` itself, for studies of a test's own."""
    return make_study


@pytest.fixture
def first_release(study: StudyRecord) -> StudyRecord:
    """The finished study, confirmed by the rules of the first release."""
    return as_in_first_release(study)
