"""Whether the winner's latents are more useful downstream, in the report."""

from collections.abc import Callable
from dataclasses import replace

from klsearch.reports.sections.models.usefulness import probe_table, usefulness_sections
from klsearch.studies.record import ConfirmationRun, StudyRecord
from klsearch.vae.evaluation.probe import Probe

Make = Callable[..., StudyRecord]

CHANCE = 0.125


def probed(study: StudyRecord, scores: dict[str, float]) -> StudyRecord:
    """The study with these scores of its candidates, a hundredth higher with each seed."""

    def with_probe(run: ConfirmationRun) -> ConfirmationRun:
        name = "winner" if run.trial == study.winner and run.trial is not None else run.candidate
        if name not in scores:
            return run
        score = scores[name] + (run.seed - 9000) / 100
        return replace(run, probe=Probe(measure="accuracy", validation=score, test=score, chance=CHANCE))

    return replace(study, confirmation=tuple(with_probe(run) for run in study.confirmation))


def test_without_labels_there_is_no_such_section(make: Make) -> None:
    assert usefulness_sections(make(30)) == ()


def test_the_winner_is_held_against_each_baseline(make: Make) -> None:
    study = probed(make(30, seeds=8), {"winner": 0.7, "before": 0.5, "after": 0.7})
    (section,) = usefulness_sections(study)
    told, table = section.blocks
    assert getattr(told, "text", "").startswith(
        "The winner's latents are more useful than those of `before`; neither shown to be more nor less useful than "
        "those of `after`. "
    )
    assert "over 8 fresh seeds" in getattr(told, "text", "")
    assert "the commonest class scores 0.125" in getattr(told, "text", "")
    assert table == probe_table(study, "accuracy")


def test_scores_are_medians_with_paired_differences(make: Make) -> None:
    study = probed(make(30, seeds=8), {"winner": 0.7, "before": 0.5})
    rows = {row[0]: row[1:] for row in probe_table(study, "accuracy").rows}
    assert rows["winner"] == ("0.735", "0.7 to 0.77", "", "")
    assert rows["before"] == ("0.535", "0.5 to 0.57", "0.2", "0.2 to 0.2")
    assert rows["after"] == ("–", "–", "–", "–")
