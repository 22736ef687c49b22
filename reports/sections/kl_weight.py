"""*Which KL weight?* What each value of it does, measured, and where the KL lies in the band."""

from collections.abc import Sequence

from klsearch.reports.figures.kl_weight_exhibits import kl_weight_exhibits, marks_on_axis
from klsearch.reports.figures.legends import mark_legend, outcome_legend
from klsearch.reports.page import Block, Gallery, Prose, Section
from klsearch.reports.readings.candidates import compared_candidates, seeds_words
from klsearch.reports.readings.kl_weights import WeighedRuns, weighed_runs
from klsearch.reports.readings.trials import passing_range
from klsearch.reports.wording import count
from klsearch.studies.record import StudyRecord


def kl_weight_sections(study: StudyRecord) -> tuple[Section, ...]:
    """The ladder, or all trials where a study has none; no section where the KL weight is not searched."""
    if "kl_weight" not in study.definition.space.searched():
        return ()
    return (Section(identity="kl-weight", title="Which KL weight?", blocks=_blocks(study, weighed_runs(study))),)


def _blocks(study: StudyRecord, runs: WeighedRuns) -> tuple[Block, ...]:
    said = Prose(text=_describe(study, runs))
    if all(trial.diverged for trial in runs.trials):
        return (said,)
    shown, entries = [place for place, _ in marks_on_axis(study, runs)], mark_legend(study)
    outcomes = outcome_legend(runs.points(lambda run: run.kl).outcomes)
    legend = (*(entries[place] for place in shown), *outcomes)
    return (
        said,
        Gallery(exhibits=kl_weight_exhibits(study, runs), legend=legend),
        Prose(text=_how_to_read(study, runs, shown)),
    )


def _describe(study: StudyRecord, runs: WeighedRuns) -> str:
    if runs.ladder is not None:
        passing = passing_range(study, "kl_weight")
        if passing is None or not runs.ladder.is_whole:
            return runs.ladder.sentence
        return (
            f"{runs.ladder.sentence} The other settings move these edges: of all trials, those that pass every gate "
            f"have KL weights {passing}."
        )
    if not runs.trials:
        return "No trial was trained to its end yet."
    if all(trial.diverged for trial in runs.trials):
        return f"{count(len(runs.trials), 'trial')} came to an end, and all diverged, whatever their KL weight."
    return f"{count(len(runs.trials), 'trial')} trained to the end, all else as it was searched: no ladder was trained."


def _how_to_read(study: StudyRecord, runs: WeighedRuns, shown: Sequence[int]) -> str:
    candidates = compared_candidates(study)
    text = "At the end of training, validation split. Small markers: one training each"
    text += ", joined in the order of their KL weight." if runs.ladder is not None else "."
    if shown:
        several = any(len(candidates[place].runs) > 1 for place in shown)
        over = f", medians over {seeds_words(candidates)}" if several else ""
        text += f" Large ones: the winner and the baselines, with their own other settings{over}."
    if any(trial.diverged for trial in runs.trials):
        text += " What diverged stands on the upper edge."
    absent = [one.name for place, one in enumerate(candidates) if place not in shown]
    return f"{text} Not drawn, for want of a KL weight on the axis: {', '.join(absent)}." if absent else text
