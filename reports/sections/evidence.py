"""*How sure?* The gates, every confirmation seed, and the winner's difference to each baseline on the test split."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from klsearch.reports.figures.legends import seed_legend
from klsearch.reports.figures.seed_exhibits import seed_exhibits
from klsearch.reports.page import Block, Cell, Fold, Gallery, Mark, Prose, Section, Table
from klsearch.reports.readings.candidates import CandidateRuns, compared_candidates, confirmed_candidates
from klsearch.reports.readings.differences import difference_on_test, direction, missed_gates, pairs_cell
from klsearch.reports.readings.models import seed_target
from klsearch.reports.readings.rivals import why_failed
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.tables import confirmed_name, measure
from klsearch.reports.wording import count, number, share, within
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.studies.summary import Summary
from klsearch.studies.verdict.candidates import baseline_names, reconstruction_difference, runs_of
from klsearch.studies.verdict.differences import Difference, relative
from klsearch.vae.diagnostics.gates import GATES, MIN_CONFIRMATION_SEEDS, GateRule, wilson_interval


def evidence_section(study: StudyRecord, summary: Summary) -> Section:
    """The evidence that the verdict rests on."""
    return Section(identity="evidence", title="How sure?", blocks=_blocks(study, summary))


def _blocks(study: StudyRecord, summary: Summary) -> tuple[Block, ...]:
    candidates = compared_candidates(study)
    if not candidates:
        return (Prose(text="No trial has finished, so there is no evidence to show yet."),)
    gates = (gates_table(study, candidates[0]), *_band_note(study))
    if not summary.seeds:
        return Prose(text=_explain_unconfirmed(study), tone="caution"), *gates
    return (
        pass_rates_table(study, confirmed_candidates(study)),
        *gates,
        Gallery(exhibits=seed_exhibits(study), legend=seed_legend()),
        *_difference_blocks(study),
        Prose(text=_choice(study)),
        Prose(text=_limits(study, summary)),
        *_run_folds(study),
    )


def _run_folds(study: StudyRecord) -> Iterator[Fold]:
    for name, runs in (("race run", study.race), ("confirmation run", study.confirmed)):
        if runs:
            yield Fold(summary=f"All {count(len(runs), name)}", blocks=(_runs_table(study, runs, f"Every {name}"),))


def _explain_unconfirmed(study: StudyRecord) -> str:
    trials = count(len(study.finished), "finished trial")
    return (
        f"Not confirmed on fresh seeds. The numbers are those of one training, and it is the best of {trials} on the "
        f"validation split, so they are optimistic. A confirmation retrains the leading trials and the baselines on "
        f"at least {MIN_CONFIRMATION_SEEDS} fresh seeds each."
    )


def pass_rates_table(study: StudyRecord, candidates: tuple[CandidateRuns, ...]) -> Table:
    """The number of seeds of each candidate that pass every gate, with Wilson's interval, and why the others fail."""
    rows = []
    for one in candidates:
        low, high = wilson_interval(one.passed, len(one.runs))
        rate = share(one.passed / len(one.runs))
        interval, why = f"{low:.2f} to {high:.2f}", why_failed(study, one)
        rows.append((one.label, _passed_mark(one.passed, len(one.runs)), rate, interval, why))
    return Table(
        caption="Fresh seeds that pass every gate",
        columns=("candidate", "pass", "share", "95 % interval", "why seeds fail"),
        rows=tuple(rows),
        words=(0, 1, 4),
    )


def gates_table(study: StudyRecord, candidate: CandidateRuns) -> Table:
    """Each gate of one candidate: what it asks, what was measured, and how many seeds pass."""
    return Table(
        caption=f"Gates of the {candidate.label}, on the validation split",
        columns=("gate", "passed by", "measured", "threshold", "passes when"),
        rows=tuple(_gate_row(study, candidate, gate) for gate in GATES),
        words=(0, 1, 2, 3, 4),
    )


def _band_note(study: StudyRecord) -> tuple[Block, ...]:
    """The origin of a band that nobody gave."""
    if study.reference is None:
        return ()
    return (Prose(text=f"The band was not given but taken from a reference: {study.reference.words}."),)


def _gate_row(study: StudyRecord, candidate: CandidateRuns, rule: GateRule) -> tuple[Cell, ...]:
    gates = [gate for run in candidate.runs for gate in run.gates if gate.name == rule.name]
    values = np.array([gate.value for gate in gates if math.isfinite(gate.value)])
    passed, seeds = sum(gate.passed for gate in gates), len(candidate.runs)
    threshold = gates[0].threshold if gates else ""
    if rule.in_band_unit:
        threshold = f"{threshold} {kl_unit(study)}"
    return rule.name, _passed_mark(passed, seeds), _measured_cell(values, seeds), threshold, rule.meaning


def _measured_cell(values: np.ndarray, seeds: int) -> str:
    if not values.size:
        return "nothing: it diverged" if seeds == 1 else f"nothing: all {seeds} diverged"
    lost = f"; {seeds - values.size} of {seeds} diverged" if values.size < seeds else ""
    median, low, high = (float(value) for value in (np.median(values), values.min(), values.max()))
    middle, ends = within(median, low, high)
    return f"{middle if number(low) == number(high) else f'{middle} ({ends})'}{lost}"


def _passed_mark(passed: int, seeds: int) -> Mark:
    if seeds == 1:
        return Mark("passed", "good") if passed else Mark("missed", "bad")
    return Mark(f"{passed} of {count(seeds, 'seed')}", "good" if passed == seeds else "bad")


def _difference_blocks(study: StudyRecord) -> tuple[Block, ...]:
    names = baseline_names(study)
    if not names or all(run.test is None for run in runs_of(study, "winner")):
        return ()
    columns = ("baseline", "KL", "95 % interval", "unexplained, %", "95 % interval", "seeds", "reading")
    table = Table(
        caption=(
            f"Winner less baseline on the test split, paired by seed; KL in {kl_unit(study)}, unexplained in % of the "
            "baseline's"
        ),
        columns=columns,
        rows=tuple(_difference_row(study, name) for name in names),
        words=(0, 6),
    )
    return (table,)


def _difference_row(study: StudyRecord, baseline: str) -> tuple[Cell, ...]:
    factor = kl_factor(study)
    kl = difference_on_test(study, baseline, lambda measures: factor * measures.kl)
    unexplained = reconstruction_difference(study, baseline)
    percent = [100 * relative(one) for one in (unexplained.mean, unexplained.low, unexplained.high)]
    return (
        baseline,
        *_difference_cells(kl),
        *_difference_cells(replace(unexplained, mean=percent[0], low=percent[1], high=percent[2])),
        pairs_cell(unexplained, "winner", baseline),
        _reading(kl, unexplained),
    )


def _difference_cells(difference: Difference) -> tuple[str, str]:
    mean, interval = within(difference.mean, difference.low, difference.high)
    return mean, interval if difference.pairs > 1 else "needs 2 pairs"


def _reading(kl: Difference, unexplained: Difference) -> str:
    if kl.pairs < 2:
        return "too few pairs to tell"
    return f"KL {direction(kl)}, unexplained {direction(unexplained)}"


def _choice(study: StudyRecord) -> str:
    """How the winner came to be the one that is proven."""
    by_scores = (
        "by the number of seeds that pass every gate, then by the mean score; where scores differ by no more than the "
        "seeds' noise, it is the one farther from the band's edges."
    )
    if study.procedure is Procedure.OWN_SEEDS:
        leading = len({run.trial for run in study.confirmed if run.trial is not None})
        return (
            f"The winner is chosen among the {count(leading, 'leading trial')} on the validation split: {by_scores} "
            "The seeds that prove it are those that chose it (a study of the first release), so its pass rate is "
            "optimistic."
        )
    leading = len({run.trial for run in study.race})
    seeds = len({run.seed for run in study.race})
    led = "The trials, which all share one seed, are ranked by what a model of all of them expects of each setting."
    if not leading:
        return f"{led} The first is proven, on fresh seeds that played no part in choosing it."
    return (
        f"{led} The first {leading} raced on {seeds} other seeds, on the validation split; the winner is chosen "
        f"{by_scores} It is then proven on fresh seeds that played no part in that. A baseline that fails the "
        "gates on the first three of these is dropped."
    )


def _limits(study: StudyRecord, summary: Summary) -> str:
    looks = "once" if study.test_looks == 1 else f"{study.test_looks} times"
    return (
        f"Intervals over seeds speak of training noise, not of sampling the data: other data may differ by more. The "
        f"winner was picked among {count(len(study.finished), 'trial')} on the validation split, so its validation "
        f"score in the search is optimistic; {_unchosen(study, summary)} The test split has been scored {looks}."
    )


def _unchosen(study: StudyRecord, summary: Summary) -> str:
    if study.procedure is Procedure.OWN_SEEDS:
        return "the test split played no part in choosing it."
    return f"its {count(summary.seeds, 'fresh seed')} and the test split played no part in choosing it."


def _runs_table(study: StudyRecord, runs: Sequence[ConfirmationRun], caption: str) -> Table:
    return Table(
        caption=caption,
        columns=(
            *("candidate", "seed", "gates missed", "score", f"KL, {kl_unit(study)}", "unexplained"),
            *("test KL", "test unexplained"),
        ),
        targets=tuple(seed_target(run) for run in runs),
        rows=tuple(
            (
                confirmed_name(study, run),
                str(run.seed),
                missed_gates(run) or "none",
                *(number(value) for value in (run.score, kl_factor(study) * run.kl, run.unexplained)),
                number(kl_factor(study) * measure(run.test, "kl")),
                number(measure(run.test, "unexplained")),
            )
            for run in runs
        ),
        words=(0, 2),
    )
