"""The number of fresh seeds that a study is confirmed on: it may grow, and never shrinks."""

from klsearch.search.storage.records import definition_of
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.catalog import LoadedDefinition, with_confirmation_seeds
from klsearch.studies.errors import UsageError
from klsearch.studies.record import StudyRecord


def with_seeds(loaded: LoadedDefinition, study: StudyRecord, seeds: int | None) -> LoadedDefinition:
    """The definition that has a study's candidates confirmed on so many fresh seeds in all.

    Args:
        loaded: the study's definition.
        study: as it is stored.
        seeds: how many; None for those that the definition asks for.

    Raises:
        UsageError: the search is not over, there are none, or fewer than are trained already.
        DefinitionError: the definition leaves no rows to test on.
    """
    done, budget = len(study.counted), loaded.definition.study.trials
    if done < budget:
        enough = f", or stop at these: `{study.resume_command} --trials {done}`" if done else ""
        raise UsageError(
            f"study {study.name!r} has {done} of {budget} trials, so its leading ones may change; go on with "
            f"`{study.resume_command}`{enough}."
        )
    wanted = loaded.definition.confirmation.seeds if seeds is None else seeds
    if not wanted:
        raise UsageError("the definition asks for no confirmation (confirmation.seeds = 0); give --seeds N.")
    known = len({run.seed for run in study.confirmation})
    if wanted < known:
        raise UsageError(
            f"{known} fresh seeds are trained already, and none of them is dropped; give --seeds {known} or more."
        )
    return with_confirmation_seeds(loaded, wanted)


def with_all_seeds(loaded: LoadedDefinition, study: StudyStorage) -> LoadedDefinition:
    """The definition, asking for no fewer fresh seeds than a study that has a winner was confirmed on.

    The file may still ask for those that it had before `klsearch confirm --seeds`. To leave trained seeds out would be
    to choose among results.
    """
    confirmed = definition_of(study).definition.confirmation.seeds
    if study.facts.winner is None or confirmed <= loaded.definition.confirmation.seeds:
        return loaded
    return with_confirmation_seeds(loaded, confirmed)
