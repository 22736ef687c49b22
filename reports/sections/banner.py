"""The verdict, why, and the numbers to know."""

import math

import numpy as np

from klsearch.reports.page import Banner, Tile, Tone
from klsearch.reports.readings.candidates import CandidateRuns, candidate_label, compared_candidates, seeds_words
from klsearch.reports.readings.trials import TrialOutcome, outcomes_of
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.tables import measure
from klsearch.reports.wording import count, duration, number, spread, utc
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrainingRun
from klsearch.studies.summary import Summary, since_confirmed
from klsearch.vae.diagnostics.gates import Verdict

_TONES: dict[Verdict, Tone] = {
    Verdict.STABLE: "good",
    Verdict.CAVEATS: "caution",
    Verdict.NOT_STABLE: "bad",
    Verdict.NOT_ENOUGH_EVIDENCE: "plain",
}


def banner(study: StudyRecord, summary: Summary) -> Banner:
    """The part of the page that a reader sees first."""
    since = since_confirmed(study)
    return Banner(
        word=summary.verdict.capitalize(),
        tone=_TONES[summary.verdict],
        sentence=f"{summary.why} First: {_uncapitalised(summary.next.action)}.",
        tiles=(*_model_tiles(study, summary), *_search_tiles(study)),
        partial=partial_notice(study),
        outdated="" if since is None else since.sentence,
        resume_command=study.resume_command,
    )


def _uncapitalised(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"


def partial_notice(study: StudyRecord) -> str:
    """A notice of what an unfinished study still lacks; empty for a finished one."""
    asked, finished = study.definition.study.trials, len(study.counted)
    running = sum(trial.state is RunState.RUNNING for trial in study.trials)
    if finished < asked or running:
        under_way = f" {running} under way." if running else ""
        return f"Partial: {finished} of {count(asked, 'trial')} have finished.{under_way}"
    if study.winner is None and study.definition.confirmation.seeds:
        return f"Partial: all {count(finished, 'trial')} have finished, but the winner is not confirmed yet."
    return ""


def as_of(study: StudyRecord) -> str:
    """The time at which the last record was written, UTC; empty for a study without one."""
    runs: tuple[TrainingRun, ...] = (*study.trials, *study.confirmation)
    times = [time for run in runs for time in (run.started, run.ended) if time is not None]
    return utc(max(times)) if times else ""


def _model_tiles(study: StudyRecord, summary: Summary) -> tuple[Tile, ...]:
    candidates = compared_candidates(study)
    if not candidates:
        return ()
    leader, others = candidates[0], candidates[1:]
    return (
        _kl_tile(study, leader),
        _unexplained_tile(study, leader, others),
        _active_tile(study, leader),
        *((_seeds_tile(summary, others),) if summary.seeds else ()),
    )


def _kl_tile(study: StudyRecord, leader: CandidateRuns) -> Tile:
    kl, latents = leader.median(lambda run: run.kl), study.definition.model.latent_dim
    band = f"{kl_unit(study)}, band {spread(*study.definition.thresholds().kl_band)}"
    summed = study.definition.study.kl_reduction == "sum"
    other = f"{number(kl)} per latent" if summed else f"{number(kl * latents)} over all {latents} latents"
    return Tile(
        label="Final KL",
        value=number(kl_factor(study) * kl),
        detail=f"{band}; {other}; validation split{_median_note(leader)}",
    )


def _median_note(candidate: CandidateRuns) -> str:
    if len(candidate.runs) == 1:
        return ""
    left = len(candidate.runs) - candidate.diverged
    of = f"{left} of {len(candidate.runs)}" if candidate.diverged else str(left)
    return f"; median of {of} seeds{', the others diverged' if candidate.diverged else ''}"


def _unexplained_tile(study: StudyRecord, leader: CandidateRuns, others: tuple[CandidateRuns, ...]) -> Tile:
    tested = math.isfinite(leader.median(_test_unexplained))
    read = _test_unexplained if tested else _validation_unexplained
    beside = "".join(f"; {candidate_label(one.name, one.runs)} {number(one.median(read))}" for one in others)
    linear = study.data.pca.get("test" if tested else "validation") if study.data is not None else None
    if linear is not None:
        beside += f"; PCA with {study.definition.model.latent_dim} components {number(linear)}"
    of = study.definition.objective().likelihood.deviance.whole
    detail = f"of the {of}, {'test' if tested else 'validation'} split{_median_note(leader)}{beside}"
    return Tile(label="Unexplained", value=number(leader.median(read)), detail=detail)


def _test_unexplained(run: TrainingRun) -> float:
    return measure(run.test, "unexplained") if isinstance(run, ConfirmationRun) else math.nan


def _validation_unexplained(run: TrainingRun) -> float:
    return run.unexplained


def _active_tile(study: StudyRecord, leader: CandidateRuns) -> Tile:
    latents = study.definition.model.latent_dim
    active = leader.values(lambda run: measure(run.measures, "active_units"))
    least = number(float(np.nanmin(active))) if np.any(np.isfinite(active)) else number(None)
    needed = study.definition.thresholds().active_units_needed(latents)
    fewest = f"; fewest of {seeds_words([leader])}" if leader.diverged else "; fewest of any seed"
    fewest = fewest if len(leader.runs) > 1 else ""
    return Tile(label="Active latents", value=f"{least} of {latents}", detail=f"at least {needed} needed{fewest}")


def _seeds_tile(summary: Summary, others: tuple[CandidateRuns, ...]) -> Tile:
    beside = "".join(f"; {one.name} {one.passed} of {len(one.runs)}" for one in others)
    return Tile(
        label="Seeds that pass",
        value=f"{summary.passed} of {summary.seeds}",
        detail=f"95 % interval {summary.interval[0]:.2f} to {summary.interval[1]:.2f}{beside}",
    )


def _search_tiles(study: StudyRecord) -> tuple[Tile, ...]:
    own = [trial for trial in study.trials if not trial.warm_start]
    outcomes = [outcomes_of(study)[trial.number] for trial in own if trial.state is not RunState.RUNNING]
    running, earlier = len(own) - len(outcomes), len(study.trials) - len(own)
    told = [f"{outcomes.count(one)} {word}" for one, word in _OUTCOME_WORDS.items() if one in outcomes]
    told += [f"{running} running"] if running else []
    told += [f"{earlier} more from an earlier study"] if earlier else []
    seconds = [trial.seconds for trial in own if math.isfinite(trial.seconds)]
    per_trial = f"{duration(float(np.median(seconds)))} per trial" if seconds else "no trial has been timed"
    finished = f"{len(study.counted)} of {study.definition.study.trials}"
    return (
        Tile(label="Trials finished", value=finished, detail=", ".join(told) or "none started"),
        Tile(label="Training time", value=duration(sum(seconds)), detail=f"{per_trial}, {study.slots} at a time"),
    )


_OUTCOME_WORDS = {
    TrialOutcome.PASSED: "pass every gate",
    TrialOutcome.MISSED: "miss at least one",
    TrialOutcome.PRUNED: "stopped early",
    TrialOutcome.FAILED: "diverged or failed",
    TrialOutcome.VOID: "never trained",
}
