"""The JSON documents of the command line: one schema, written in one place."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from klsearch.studies.definitions.data import cautions
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.proposed import proposed_kl_weights
from klsearch.studies.ladder import ladder_of
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrainingRun, TrialRecord
from klsearch.studies.summary import Summary, since_confirmed, summarize
from klsearch.studies.verdict.comparison import compare_studies

if TYPE_CHECKING:  # which load TensorFlow or Optuna
    from klsearch.search.commands.check import Estimate, OwnModel
    from klsearch.search.commands.doctor import Health
    from klsearch.search.running.reproduction import Reproduction
    from klsearch.search.storage.leases import Activity
    from klsearch.vae.data.datasets import Dataset
    from klsearch.vae.diagnostics.audit.audit import Audit
    from klsearch.vae.diagnostics.diagnosis import Diagnosis

SCHEMA_VERSION = 1

Document = dict[str, Any]


def as_text(document: Document) -> str:
    """The document as one line of JSON; numbers that are not finite become null."""
    return json.dumps(_plain({"schema_version": SCHEMA_VERSION, **document}), allow_nan=False)


def studies_document(studies: Mapping[str, str]) -> Document:
    """The built-in studies, each by its name with a line about it."""
    return {"studies": [{"name": name, "about": about} for name, about in studies.items()]}


def check_document(
    definition: StudyDefinition, dataset: "Dataset", expected: "Estimate | None", own: "OwnModel | None" = None
) -> Document:
    """The findings of `check`, with those of a model of the user's own, and its estimate of the cost."""
    warnings = [*cautions(definition, dataset), *(own.cautions if own is not None else ())]
    return {
        "study": definition.study.name,
        "valid": True,
        "trials": definition.study.trials,
        "rows": dataset.rows,
        "shape": list(dataset.shape),
        "columns": None if dataset.table is None else [asdict(column) for column in dataset.table],
        "scaling": dataset.scaling.words,
        "fingerprint": dataset.fingerprint,
        "estimate": None if expected is None else asdict(expected),
        "proposal": asdict(proposed_kl_weights(definition, dataset)),
        "warnings": list(warnings),
        "warning_codes": [caution.code for caution in warnings],
        "notes": [*dataset.notes, *definition.translations(dataset.shape)],
        "model_notes": list(own.notes) if own is not None else [],
    }


def health_document(health: "Health") -> Document:
    """The findings of `doctor`."""
    return {**asdict(health), "works": health.exit_code == 0}


def diagnosis_document(diagnosis: "Diagnosis", definition: str) -> Document:
    """What `diagnose` says of a history; the last reasons say what it cannot tell. And what searches its settings."""
    document = asdict(diagnosis)
    document["reasons"] += document.pop("unknowns")
    return {**document, "definition": definition}


def audit_document(audit: "Audit", definition: str) -> Document:
    """What `audit` finds of a model, and the definition that searches its settings; "" where there is none."""
    findings = [{"code": each.code, "evidence": each.evidence, "remedy": each.remedy} for each in audit.findings]
    return {"findings": findings, "facts": dict(audit.facts), "definition": definition}


def error_document(message: str, exit_code: int) -> Document:
    """An error, as message and exit code."""
    return {"error": {"message": message, "exit_code": exit_code}}


def best_document(study: StudyRecord) -> Document:
    """The winner (the best trial so far before confirmation), the verdict and every confirmation run."""
    summary = summarize(study)
    low, high = summary.interval
    return {
        "study": study.name,
        "verdict": summary.verdict.value,
        **_claims(summary),
        "passed": summary.passed,
        "seeds": summary.seeds,
        "interval": [low, high],
        "caveats": list(summary.caveats),
        **(_trial(summary.best) if summary.best is not None else _NO_TRIAL),
        "kl_band": list(study.definition.thresholds().kl_band),
        "pca": dict(study.data.pca) if study.data is not None else {},
        "kl_band_reference": None if study.reference is None else asdict(study.reference),
        "same_as": study.definition.same_baselines(),
        "since_confirmed": _since_confirmed(study),
        "ladder": _ladder(study),
        "probe_measure": next((run.probe.measure for run in study.confirmation if run.probe is not None), None),
        "race": [entry for run in study.race for entry in _confirmation(study, run)],
        "confirmation": [entry for run in study.confirmation for entry in _confirmation(study, run)],
    }


def trials_document(study: StudyRecord, trials: Sequence[TrialRecord]) -> Document:
    """Some of a study's trials."""
    return {"study": study.name, "trials": [_trial_entry(trial) for trial in trials]}


def status_document(study: StudyRecord, activity: "Activity") -> Document:
    """The state of the study."""
    summary = summarize(study)
    own = [trial for trial in study.trials if not trial.warm_start]
    counts = {state.value: sum(trial.state is state for trial in own) for state in RunState}
    running = [trial for trial in study.trials if trial.state is RunState.RUNNING and trial.progress]
    return {
        "study": study.name,
        "verdict": summary.verdict.value,
        **_claims(summary),
        "budget": study.definition.study.trials,
        "finished": len(study.counted),
        "counts": counts,
        "slots": study.slots,
        "warm_start": study.warm_start or None,
        "confirmation": {
            "finished": sum(run.state is RunState.COMPLETE for run in (*study.race, *study.confirmation)),
            "started": len(study.race) + len(study.confirmation),
        },
        "since_confirmed": _since_confirmed(study),
        "ladder": _ladder(study),
        "best": None if summary.best is None else _trial(summary.best),
        "is_worked_on": activity.is_worked_on,
        "seconds_left": activity.left,
        "running": [{"trial": trial.number, **trial.progress} for trial in running],
    }


def comparison_document(first: StudyRecord, second: StudyRecord) -> Document:
    """The content of `best_document` for either study, and of the comparison report for both."""
    comparison = compare_studies(first, second)
    return {
        "studies": list(comparison.studies),
        "best": [best_document(first), best_document(second)],
        "differing": [
            {"table": table, "key": key, "values": list(values)}
            for (table, key), values in comparison.differing.items()
        ],
        "obstacle": comparison.obstacle or None,
        "paired": {name: asdict(difference) for name, difference in comparison.paired.items()},
        "unlike": comparison.unlike or None,
        "unpaired": {name: asdict(difference) for name, difference in comparison.unpaired.items()},
        "better": comparison.better,
    }


def reproduction_document(reproduction: "Reproduction") -> Document:
    """The result of training a trial again: whether it has the same bits, else what differs and has changed since."""
    return {
        "study": reproduction.study,
        "trial": reproduction.trial,
        "seed": reproduction.seed,
        "matches": reproduction.matches,
        "mismatches": [asdict(mismatch) for mismatch in reproduction.mismatches],
        "changed": {name: {"stored": stored, "now": now} for name, (stored, now) in reproduction.changed.items()},
    }


_MEASURES = ("score", "kl", "kl_sum", "unexplained")
_TRIAL = (
    *("trial", "feasible", *_MEASURES, "reconstruction", "active_units", "elbo"),
    *("hyperparameters", "seed", "gates"),
)
_NO_TRIAL: Document = dict.fromkeys(_TRIAL)


def _ladder(study: StudyRecord) -> Document | None:
    ladder = ladder_of(study)
    return None if ladder is None else asdict(ladder)


def _claims(summary: Summary) -> Document:
    """Why, at what price, and what to do first: as the terminal and the report say it."""
    return {
        "sentence": summary.why,
        "causes": [{"name": cause.name, "seeds": cause.seeds} for cause in summary.causes],
        "price": [{**asdict(price), "words": price.words} for price in summary.price],
        "next": {**asdict(summary.next), "code_for": summary.next.code_for},
    }


def _since_confirmed(study: StudyRecord) -> Document | None:
    since = since_confirmed(study)
    return None if since is None else asdict(since)


def _named_measures(run: TrainingRun) -> Document:
    return {name: getattr(run, name) for name in _MEASURES}


def _trial(trial: TrialRecord) -> Document:
    measures = trial.measures
    return {
        "trial": trial.number,
        "feasible": trial.feasible,
        **_named_measures(trial),
        "reconstruction": measures.reconstruction if measures is not None else None,
        "active_units": measures.active_units if measures is not None else None,
        "elbo": measures.elbo if measures is not None else None,
        "hyperparameters": trial.hyperparameters.as_json(),
        "seed": trial.seed,
        "gates": _gates(trial),
    }


def _trial_entry(trial: TrialRecord) -> Document:
    return {
        "number": trial.number,
        "state": trial.state.value,
        "origin": trial.origin,
        "warm_start": trial.warm_start,
        **_named_measures(trial),
        "feasible": trial.feasible,
        "hyperparameters": trial.hyperparameters.as_json(),
        "seconds": trial.seconds,
        "epochs": trial.epochs,
        "gates": _gates(trial),
        "seed": trial.seed,
        "diverged": trial.diverged,
        "error": trial.error or None,
    }


def _gates(run: TrainingRun) -> dict[str, bool]:
    return {gate.name: gate.passed for gate in run.gates}


def _confirmation(study: StudyRecord, run: ConfirmationRun) -> list[Document]:
    """One entry for each split that a run was scored on; the gates are judged on validation."""
    name = "winner" if run.trial is not None and run.trial == study.winner else run.candidate
    method = study.definition.baseline_method(run.candidate)
    common = {"name": name, "method": method, "trial": run.trial, "seed": run.seed, "passed": run.passed}
    if run.state is not RunState.COMPLETE:
        return []
    splits = {"validation": (run.kl, run.unexplained)}
    if run.test is not None:
        splits["test"] = (run.test.kl, run.test.unexplained)
    return [
        {**common, "split": split, "kl": kl, "unexplained": unexplained, "probe": getattr(run.probe, split, None)}
        for split, (kl, unexplained) in splits.items()
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
