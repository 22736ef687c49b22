"""Running a study: the one call behind `klsearch run`, `resume` and `confirm`."""

from klsearch.search.layout import most_slots
from klsearch.search.progress import Progress, Silence
from klsearch.search.running.options import RunOptions
from klsearch.search.stopping import Stopper
from klsearch.search.storage.place import Place, new_place
from klsearch.search.storage.records import stored_layout
from klsearch.search.training.tensorflow import load_tensorflow, silence_loops, threads_left_over
from klsearch.studies.definitions.catalog import LoadedDefinition, override
from klsearch.studies.definitions.data import load_data
from klsearch.studies.record import StudyRecord


def run_study(
    loaded: LoadedDefinition,
    place: Place | None = None,
    options: RunOptions | None = None,
    *,
    progress: Progress | None = None,
    stopper: Stopper | None = None,
) -> StudyRecord:
    """Start or continue a study, confirm its winner, and write `report.html` and `trials.csv` into the run folder.

    Args:
        loaded: what to search.
        place: the run folder and the storage; None for `runs/NAME` in the working folder.
        options: how to run it; None for the defaults.
        progress: is told what happens; None for silence.
        stopper: is asked about once a second whether to stop; None to go on to the end.

    Returns:
        The study as stored. It is partial if `stopper` stopped it: what was running stays so in the storage, and goes
        on with the next run.

    Raises:
        KlsearchError: the definition, the data or the storage does not allow it; nothing was overwritten.
        Interrupted: `stopper` stopped it while the storage did not answer; what was trained is kept.
        KeyboardInterrupt: a signal came before there was anything to save, or one that `stopper` does not listen for;
            then the next run goes on from the last checkpoint.
    """
    options, progress = options or RunOptions(), progress or Silence()
    if options.until_converged:
        loaded = override(loaded, stop="decided")
    place = place or new_place(loaded.definition.study.name)
    dataset = load_data(loaded.definition, loaded.folder)  # what is wrong with them should not wait for TensorFlow
    progress.say("Loading TensorFlow…")
    layout = stored_layout(place)
    members = options.given_slots or most_slots(loaded.definition)
    load_tensorflow(within=threads_left_over(members) if layout is None else layout.within)
    from klsearch.search.running.run import train_study

    with silence_loops():
        return train_study(loaded, dataset, place, options, progress=progress, stopper=stopper or Stopper())
