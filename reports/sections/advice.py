"""*What next?* The advice of `studies.verdict.advice`; and what the recipe's remedies do in this study."""

from klsearch.reports.page import Section, Step, Steps
from klsearch.reports.readings.remedies import remedy_blocks
from klsearch.reports.readings.responses import Responses
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import Summary
from klsearch.studies.verdict.advice import advise


def advice_section(study: StudyRecord, summary: Summary) -> Section:
    """The things to do with this study, the most important first."""
    steps = [Step(action=one.action, reason=one.reason, code=one.code) for one in advise(study, summary)]
    return Section(identity="next", title="What next?", blocks=(Steps(items=tuple(steps)),))


def recipe_section(study: StudyRecord, measured: Responses) -> Section:
    """What the recipe's own advice does in this study."""
    return Section(identity="recipe", title="Does the usual advice help?", blocks=remedy_blocks(study, measured))
