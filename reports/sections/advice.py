"""*What next?* The advice of `studies.verdict.advice`, and what the recipe's remedies do in this study."""

from klsearch.reports.page import Section, Step, Steps
from klsearch.reports.readings.remedies import remedy_blocks
from klsearch.reports.readings.responses import Responses
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import Summary
from klsearch.studies.verdict.advice import advise


def advice_section(study: StudyRecord, summary: Summary, measured: Responses) -> Section:
    """The things to do with this study, the most important first, and what the recipe's own advice does here.

    Args:
        study: the records.
        summary: as `studies.summary.summarize` gives it.
        measured: as `reports.readings.responses.responses` gives it.
    """
    steps = [Step(action=one.action, reason=one.reason, code=one.code) for one in advise(study, summary)]
    return Section(
        identity="next", title="What next?", blocks=(Steps(items=tuple(steps)), *remedy_blocks(study, measured))
    )
