"""*What failed, and why?* The reasons for which trials miss, how many do, and at which settings."""

from collections import Counter

from klsearch.reports.page import Block, Code, Fold, Prose, Section, Table
from klsearch.reports.readings.causes import Cause, collapsed_in_band, gate_value
from klsearch.reports.wording import count, first_line, number, share
from klsearch.studies.record import RunState, StudyRecord

_ERRORS_SHOWN = 20


def failures_section(study: StudyRecord, found: tuple[Cause, ...]) -> Section:
    """Causes with their counts, and the errors' texts; `found` as `causes` gives them."""
    return Section(identity="failures", title="What failed, and why?", blocks=_blocks(study, found))


def _blocks(study: StudyRecord, found: tuple[Cause, ...]) -> tuple[Block, ...]:
    ended = [trial for trial in study.trials if trial.state is not RunState.RUNNING]
    if not ended:
        return (Prose(text="No trial has finished yet."),)
    if not found:
        return (Prose(text=f"Nothing: all {count(len(ended), 'trial')} pass every gate."),)
    passed = sum(trial.passed for trial in ended)
    by = f"{passed:,}" if passed else "none"
    text = f"Every gate is passed by {by} of {count(len(ended), 'trial')}. A trial may miss for several reasons."
    return Prose(text=text), _cause_table(found, len(ended)), *_collapse_blocks(study), *_error_blocks(study)


def _cause_table(found: tuple[Cause, ...], ended: int) -> Table:
    return Table(
        caption=f"Reasons, among {count(ended, 'trial')}",
        columns=("reason", "trials", "share", "most often with", "for instance trial"),
        rows=tuple(
            (
                cause.name,
                str(len(cause.trials)),
                share(len(cause.trials) / ended),
                cause.region,
                ", ".join(str(trial.number) for trial in cause.trials[:3]),
            )
            for cause in found
        ),
        words=(0, 3, 4),
    )


def _collapse_blocks(study: StudyRecord) -> tuple[Prose, ...]:
    collapsed = collapsed_in_band(study)
    if not collapsed:
        return ()
    worst = min(collapsed, key=lambda trial: (gate_value(trial, "alive"), trial.number))
    latents = study.definition.model.latent_dim
    active = number(gate_value(worst, "alive"))
    text = (
        f"{count(len(collapsed), 'trial')} ended with a KL inside the band and yet collapsed: trial {worst.number}, "
        f"for one, has a KL of {number(worst.kl)} nats per latent with {active} of {latents} "
        f"latents active. Its encoder says next to nothing about a row, so its KL is low for the wrong reason; the "
        f"`alive` gate keeps such trials from winning."
    )
    return (Prose(text=text, tone="caution"),)


def _error_blocks(study: StudyRecord) -> tuple[Fold, ...]:
    failed = [trial for trial in study.trials if trial.error and not trial.is_void]
    if not failed:
        return ()
    kinds = Counter(first_line(trial.error) for trial in failed)
    examples = {first_line(trial.error): trial for trial in reversed(failed)}
    blocks = tuple(
        Code(
            label=f"{count(n, 'trial')}, first trial {examples[line].number}", text=examples[line].error, copyable=False
        )
        for line, n in kinds.most_common(_ERRORS_SHOWN)
    )
    return (Fold(summary=f"Errors of {count(len(failed), 'trial')}", blocks=blocks),)
