"""Differences between the winner and a baseline, and what a run misses, in words that several sections share."""

from collections.abc import Callable

from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.candidates import on_test, runs_of
from klsearch.studies.verdict.differences import Difference, paired_difference
from klsearch.vae.diagnostics.measures import Measures


def difference_on_test(study: StudyRecord, baseline: str, read: Callable[[Measures], float]) -> Difference:
    """Winner less baseline in one number on the test split, paired by seed."""
    winner, other = (on_test(runs_of(study, who), read) for who in ("winner", baseline))
    return paired_difference(winner, other)


def pairs_cell(difference: Difference, first: str, second: str) -> str:
    """The number of pairs, with who diverged on how many seeds."""
    left_out = difference.left_out_words(first, second)
    return f"{difference.pairs} ({left_out})" if left_out else str(difference.pairs)


def direction(difference: Difference) -> str:
    """The direction of a difference, in words: surely lower or higher than 0, or neither."""
    where = " where none diverged" if any(difference.left_out) else ""
    if difference.high < 0:
        return f"lower{where}"
    return f"higher{where}" if difference.low > 0 else "not distinguishable"


def missed_gates(run: TrainingRun) -> str:
    """The names of the gates that a run misses, in words."""
    return ", ".join(gate.name for gate in run.gates if not gate.passed)
