"""The study that a process works on."""

from dataclasses import dataclass

from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.training.population import Population


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """A study for a process to work on, with the members that it trains.

    Attributes:
        study: in its storage.
        definition: of the study, settled.
        population: that trains; compiled when it is first needed.
        alone: whether no other process can work on the study now.
    """

    study: StudyStorage
    definition: StudyDefinition
    population: Population
    alone: bool
