"""Which KL weight."""

from collections.abc import Callable
from dataclasses import replace

from klsearch.reports.page import Block, Gallery, Prose
from klsearch.reports.sections.kl_weight import kl_weight_sections
from klsearch.studies.record import RunState, StudyRecord

Make = Callable[..., StudyRecord]


def blocks_of(study: StudyRecord) -> tuple[Block, ...]:
    (section,) = kl_weight_sections(study)
    return section.blocks


def texts(study: StudyRecord) -> list[str]:
    return [block.text for block in blocks_of(study) if isinstance(block, Prose)]


def test_the_ladder_s_sentence_opens_the_section_and_everyone_drawn_is_in_the_legend(laddered: StudyRecord) -> None:
    said, gallery, how = blocks_of(laddered)
    assert isinstance(said, Prose) and isinstance(gallery, Gallery) and isinstance(how, Prose)
    passing = [trial.hyperparameters.kl_weight for trial in laddered.complete if trial.passed]
    assert said.text.startswith("KL is in the band for KL weights ")
    assert said.text.endswith(
        " The other settings move these edges: of all trials, those that pass every gate have KL weights "
        f"{min(passing):.4g} to {max(passing):.4g}."
    )
    assert [one.title for one in gallery.exhibits] == ["KL", "Unexplained", "Active latents"]
    names = [entry.label for entry in gallery.legend]
    assert names[:3] == [f"winner (trial {laddered.winner})", "before", "after"]
    assert "diverged or failed" in names
    assert how.text == (
        "At the end of training, validation split. Small markers: one training each, joined in the order of their KL "
        "weight. Large ones: the winner and the baselines, with their own other settings, medians over the seeds. What "
        "diverged stands on the upper edge."
    )


def test_a_ladder_under_way_says_so_and_draws_what_there_is(laddered: StudyRecord) -> None:
    trials = [replace(one, state=RunState.RUNNING) if 3 <= one.number < 10 else one for one in laddered.trials]
    begun = replace(laddered, trials=tuple(trials), confirmation=(), race=(), winner=None)
    assert texts(begun)[0] == "Of the ladder of KL weights, 3 of 10 trainings are done."
    (gallery,) = (block for block in blocks_of(begun) if isinstance(block, Gallery))
    drawn = [str(row[1]) for row in gallery.exhibits[0].data.rows]
    assert drawn[:3] == ["trial 0", "trial 1", "trial 2"] and drawn[3].startswith("best so far")


def test_without_a_ladder_the_trials_are_shown_and_called_what_they_are(study: StudyRecord, make: Make) -> None:
    assert texts(study)[0] == "60 trials trained to the end, all else as it was searched: no ladder was trained."
    assert texts(make(0)) == ["No trial was trained to its end yet."]


def test_who_has_no_kl_weight_on_the_axis_is_named(make: Make) -> None:
    study = make(30, baselines={"none": {"kl_weight": 0.0}})
    assert texts(study)[-1].endswith(" Not drawn, for want of a KL weight on the axis: none.")


def test_where_all_diverged_there_is_nothing_to_draw(study_of_kind: Callable[[str], StudyRecord]) -> None:
    assert texts(study_of_kind("all diverged")) == [
        "30 trials came to an end, and all diverged, whatever their KL weight."
    ]
    assert not any(isinstance(block, Gallery) for block in blocks_of(study_of_kind("all diverged")))


def test_a_fixed_kl_weight_leaves_the_section_out(make: Make) -> None:
    assert kl_weight_sections(make(5, seeds=0, space={"kl_weight": 0.1, "l2": {"low": 0.0, "high": 0.5}})) == ()
