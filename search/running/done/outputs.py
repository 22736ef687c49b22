"""The files that a run leaves beside its storage: the table of trials and the report."""

from klsearch.search.stopping import Stopper
from klsearch.search.storage.place import Place
from klsearch.search.terminal.progress import Progress
from klsearch.studies.errors import KlsearchError
from klsearch.studies.record import StudyRecord

_TRIALS, _REPORT = "trials.csv", "report.html"


def has_outputs(place: Place, record: StudyRecord) -> bool:
    """Tell whether both files are there, and no training has ended since they were written."""
    files = [place.folder / name for name in (_TRIALS, _REPORT)]
    runs = (*record.trials, *record.race, *record.confirmation, *record.closing)
    last = max((run.ended.timestamp() for run in runs if run.ended is not None), default=0.0)
    return all(file.is_file() and file.stat().st_mtime >= last for file in files)


def write_outputs(record: StudyRecord, place: Place, *, progress: Progress, stopper: Stopper) -> None:
    """Write `trials.csv` and `report.html` into the run folder, unless a signal stops it.

    Raises:
        KlsearchError: a file cannot be written.
        KeyboardInterrupt: a signal came that `stopper` does not listen for.
    """
    progress.say("Writing the report…")
    try:
        with stopper.interrupt_at_once():
            _write(record, place)
    except KeyboardInterrupt:
        command = place.resume_command
        progress.say(f"Stopped before the report was written. All results are stored; `{command}` writes it.")
        if not stopper.signalled:
            raise


def _write(record: StudyRecord, place: Place) -> None:
    from klsearch.reports.report import write_report  # pandas and Matplotlib, which training need not wait for
    from klsearch.reports.tables import write_trials_csv

    try:
        write_trials_csv(record, place.folder / _TRIALS)
        write_report(record, place.folder / _REPORT)
    except OSError as error:
        raise KlsearchError(
            f"{error.filename}: {error.strerror}. All results are in the storage; `{place.resume_command}` writes "
            "what is missing."
        ) from error
