"""For what a confirmation was finished, so that it can be told without a model that there is nothing left to do."""

import hashlib
import json
from collections.abc import Collection

from klsearch.studies.definitions.definition import StudyDefinition


def confirmation_digest(definition: StudyDefinition, counted: Collection[int]) -> str:
    """One short string for all that a confirmation depends on: who is trained on what, how judged, after which trials.

    Args:
        definition: of the study, settled.
        counted: numbers of the trials that had finished.
    """
    asked = definition.model_dump(mode="json", include={"confirmation", "gates", "baselines"})
    return hashlib.sha256(json.dumps([asked, sorted(counted)], sort_keys=True).encode()).hexdigest()[:32]
