"""Why trainings miss their gates, the most frequent reason first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from klsearch.studies.record import RunState, TrainingRun, TrialRecord
from klsearch.vae.diagnostics.gates import DIVERGED, GATES, GateThresholds

FAILED, PRUNED = "it failed with an error", "it was stopped early by the pruner"
VOID = "it was never trained: its row was closed"


@dataclass(frozen=True, slots=True)
class SeedCause:
    """One reason for which seeds of the winner fail.

    Attributes:
        name: the reason as a clause: "KL still moves at the end".
        seeds: how many fail for it; one may fail for several.
    """

    name: str
    seeds: int


def reasons(run: TrainingRun, thresholds: GateThresholds) -> tuple[str, ...]:
    """The reasons for which a training misses, in plain words; one that diverged misses every gate for that reason.

    Of one stopped early nobody knows which gates it would have missed.
    """
    if run.state is RunState.FAILED:
        return (VOID if isinstance(run, TrialRecord) and run.is_void else FAILED,)
    if run.state is RunState.PRUNED:
        return (PRUNED,)
    if run.diverged:
        return (DIVERGED,)
    missed = {gate.name: gate for gate in run.gates if not gate.passed}
    return tuple(rule.missing(missed[rule.name].value, thresholds) for rule in GATES if rule.name in missed)


def seed_causes(runs: Sequence[TrainingRun], thresholds: GateThresholds) -> tuple[SeedCause, ...]:
    """Why these trainings fail; of equally frequent reasons the one of the earlier gate comes first."""
    counted = Counter(name for run in runs for name in reasons(run, thresholds))
    return tuple(SeedCause(name, seeds) for name, seeds in counted.most_common())


def failing_words(failing: int, of: int, causes: Sequence[SeedCause]) -> str:
    """How many fail and why; empty where none does.

    >>> failing_words(3, 8, [SeedCause("KL still moves at the end", 3)])
    '3 of 8 fail, all because KL still moves at the end'
    >>> failing_words(2, 8, [SeedCause("KL still moves at the end", 2)])
    '2 of 8 fail, both because KL still moves at the end'
    >>> failing_words(3, 8, [SeedCause("KL still moves at the end", 2), SeedCause("KL ends above the band", 1)])
    '3 of 8 fail: 2 because KL still moves at the end, 1 because KL ends above the band'
    """
    if not failing:
        return ""
    if len(causes) == 1 and causes[0].seeds == failing:
        fail = {1: "fails", 2: "fail, both"}.get(failing, "fail, all")
        return f"{failing} of {of} {fail} because {causes[0].name}"
    told = ", ".join(f"{cause.seeds} because {cause.name}" for cause in causes)
    return f"{failing} of {of} {'fails' if failing == 1 else 'fail'}: {told}"
