"""What a study still trains once its search has ended, as far as that can be told before: for the time left."""

from collections.abc import Sequence

from klsearch.search.confirmation.candidates import baselines
from klsearch.search.confirmation.contest import Contest
from klsearch.search.layout import Layout
from klsearch.search.storage.rows import Run
from klsearch.search.terminal.forecast import Stage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import CLOSING_RUNGS
from klsearch.studies.procedure import Procedure


def proof_ahead(definition: StudyDefinition, layout: Layout, procedure: Procedure, *, ladder: int) -> list[Stage]:
    """The trainings of a proof, before it is known who leads.

    Baselines are taken to leave where they may: most of those that a search beats fail on three seeds.

    Args:
        definition: of the study, settled.
        layout: of the study.
        procedure: by which its winner is found.
        ladder: how many rungs it began with.
    """
    contest, others = Contest.of(definition, procedure), baselines(definition)
    leaders = min(definition.confirmation.top, definition.study.trials)
    race = leaders * len(contest.race) if leaders > 1 or contest.race == contest.proof else 0
    opening = stages(definition, layout, [run for one in others for run in one.runs(contest.opening)], beside=race)
    proof = [] if contest.race == contest.proof else stages(definition, layout, [], beside=len(contest.proof))
    return [*opening, *proof, *closing_ahead(layout, proof=len(contest.proof), ladder=ladder)]


def stages(definition: StudyDefinition, layout: Layout, runs: Sequence[Run], *, beside: int = 0) -> list[Stage]:
    """Trainings as they share slots: those that weigh the KL by their settings, `beside` of them not named, and others.

    Args:
        definition: of the study.
        layout: of the study.
        runs: to be trained.
        beside: how many more there are by their settings.
    """
    by_settings = beside + sum(run.method is None for run in runs)
    by_method = [sum(run.method == method for run in runs) for method in {run.method for run in runs} - {None}]
    slots = layout.for_members(definition.confirmation.seeds).slots
    return [
        Stage(trainings=by_settings, slots=layout.slots),
        *(Stage(trainings=count, slots=slots, compiles=True) for count in by_method),
    ]


def closing_ahead(layout: Layout, *, proof: int, ladder: int) -> list[Stage]:
    """The trainings of the closing ladder that find no idle slot beside the proof's last ones."""
    return [Stage(trainings=max(0, CLOSING_RUNGS - (-proof % layout.slots)), slots=layout.slots)] if ladder else []
