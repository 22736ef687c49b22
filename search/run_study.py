"""Running a study: the one call behind `klsearch run`, `resume` and `confirm`."""

from contextlib import ExitStack

from klsearch.search.layout import most_slots
from klsearch.search.running.done.nothing_to_do import find_finished
from klsearch.search.running.done.outputs import has_outputs, write_outputs
from klsearch.search.running.options import RunOptions
from klsearch.search.stopping import Stopper
from klsearch.search.storage.place import Place, new_place
from klsearch.search.storage.records import stored_layout
from klsearch.search.terminal.notebook import fitting_progress
from klsearch.search.terminal.progress import Progress, Silence, say_if_long
from klsearch.search.training.tensorflow import load_tensorflow, silence_loops, threads_left_over
from klsearch.studies.definitions.catalog import LoadedDefinition, override
from klsearch.studies.definitions.data import load_data
from klsearch.studies.files import remove_unfinished
from klsearch.studies.record import StudyRecord


def run_study(
    loaded: LoadedDefinition,
    place: Place | None = None,
    options: RunOptions | None = None,
    *,
    progress: Progress | bool = True,
    stopper: Stopper | None = None,
) -> StudyRecord:
    """Start or continue a study, confirm its winner, and write `report.html` and `trials.csv` into the run folder.

    Args:
        loaded: what to search.
        place: the run folder and the storage; None for `runs/NAME` in the working folder.
        options: how to run it; None for the defaults.
        progress: True to show it, in the cell of a notebook, else on standard error; False for silence; or a listener
            of your own.
        stopper: is asked about once a second whether to stop; None to go on to the end.

    Nothing of this process stays changed but what loading TensorFlow fixes where it is not loaded yet: how many
    threads it computes with, that it takes memory of a card as it needs it, and in the environment TF_CPP_MIN_LOG_LEVEL
    and KERAS_BACKEND. Meanwhile the log levels of Optuna and TensorFlow are lowered, and a card's operations are
    deterministic. Keras may not be set to another backend than TensorFlow.

    Returns:
        The study as stored. It is partial if `stopper` stopped it: what was running stays so in the storage, and goes
        on with the next run.

    Raises:
        KlsearchError: the definition, the data or the storage does not allow it; nothing was overwritten.
        Interrupted: `stopper` stopped it while the storage did not answer; what was trained is kept.
        KeyboardInterrupt: a signal came before there was anything to save, or one that `stopper` does not listen for;
            then the next run goes on from the last checkpoint.
    """
    with ExitStack() as showing:
        listener: Progress = Silence()
        if progress is True:
            listener = showing.enter_context(fitting_progress())
        elif progress:
            listener = progress
        return _run(loaded, place, options or RunOptions(), progress=listener, stopper=stopper or Stopper())


def _run(
    loaded: LoadedDefinition, place: Place | None, options: RunOptions, *, progress: Progress, stopper: Stopper
) -> StudyRecord:
    if options.until_converged:
        loaded = override(loaded, stop="decided")
    place = place or new_place(loaded.definition.study.name)
    with stopper.interrupt_at_once():
        with say_if_long(progress, "Loading the data…"):  # what is wrong with them should not wait for TensorFlow
            dataset = load_data(loaded.definition, loaded.folder)
        if finished := find_finished(loaded, dataset, place, options):
            record, done = finished
            progress.say(f"Nothing to do: {done}; `{place.resume_command} --trials N` for more.")
            remove_unfinished(place.folder)
            if not has_outputs(place, record):
                write_outputs(record, place, progress=progress, stopper=stopper)
            return record
        progress.say("Loading TensorFlow…")
        layout = stored_layout(place)
        members = options.given_slots or most_slots(loaded.definition)
        load_tensorflow(within=threads_left_over(members) if layout is None else layout.within)
        from klsearch.search.running.run import train_study
        from klsearch.search.training.device_faults import tell_device_faults
        from klsearch.search.training.own_faults import tell_own_faults
        from klsearch.vae.training.devices.cards import repeatable

    model, deterministic = loaded.definition.model, loaded.definition.training.deterministic
    with silence_loops(), repeatable(deterministic), tell_own_faults(model), tell_device_faults():
        return train_study(loaded, dataset, place, options, progress=progress, stopper=stopper)
