"""The winner to take away: models, scaler, definition and settings, in a folder of the user's choice."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from klsearch.reports.wording import number
from klsearch.search.commands.export.snippet import settings_snippet
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import confirmed_rows, study_record
from klsearch.search.storage.rows import Row
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import Progress
from klsearch.search.training.retraining import RetrainedMember, mismatches, retrain
from klsearch.studies.definitions.catalog import LoadedDefinition, with_baseline
from klsearch.studies.definitions.sections import ModelSection, extended_name
from klsearch.studies.errors import UsageError
from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.summary import since_confirmed, summarize
from klsearch.studies.verdict.candidates import runs_of
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.data.gaps import Gaps
from klsearch.vae.data.tokens import PADDING
from klsearch.vae.evaluation.plain_keras import PlainModels, loading_notes, plain_models
from klsearch.vae.host.own_code import one_line
from klsearch.vae.networks.own.as_code import own_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        files: their names.
        trial: number of the winner, or of the best trial so far.
        confirmed: whether it is the confirmed winner.
        seed: of the training whose weights the models hold.
        fresh: whether that is one of the confirmation's seeds, and not the trial's own.
        kl: final KL of that training, mean over latents, nats, validation.
        window: over how many epochs it is a mean.
        matches: whether it was trained again to the same bits as are stored.
        notes: what loading the models needs beside Keras, and how they are to be used, one line each.
    """

    folder: Path
    files: tuple[str, ...]
    trial: int
    confirmed: bool
    seed: int
    fresh: bool
    kl: float
    window: int
    matches: bool
    notes: tuple[str, ...]


def export_winner(
    loaded: LoadedDefinition,
    dataset: Dataset,
    place: Place,
    folder: Path,
    *,
    progress: Progress,
) -> Exported:
    """Write the confirmed winner into a folder; without one, the best trial so far.

    No storage holds weights, so it is trained again: on the confirmation's seed that passed all gates with the lowest
    score on validation, else on the trial's own seed. Nothing is written before that has ended.

    Args:
        loaded: the study's definition.
        dataset: its data.
        place: where the study is.
        folder: where to write; made if missing.
        progress: is told what happens.

    Raises:
        UsageError: no trial has finished, or a class of the user's own cannot be copied.
        StudyConflict: the data are not those that the study was trained on.
    """
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        record = study_record(study, url=place.shown_url, resume_command=place.resume_command)
        run, row = _chosen(study, record)
        facts = study.facts
    best, since = summarize(record).best, since_confirmed(record)
    assert best is not None
    again = retrain(loaded, dataset, facts, row, progress=progress)
    assert row.result is not None
    fresh = run is not best
    with _tell_uncopied(loaded.definition.model):
        models = plain_models(again.network, again.member)
    files: dict[str, Callable[[Path], Any]] = {
        "encoder.keras": models.encoder.save,
        "decoder.keras": models.decoder.save,
        "scaler.json": lambda path: path.write_text(describe_scaling(dataset), encoding="utf-8"),
        "best.toml": lambda path: path.write_text(_definition(loaded, best.number, row), encoding="utf-8"),
        "vae_settings.py": lambda path: path.write_text(
            settings_snippet(
                loaded.definition,
                row.run.hyperparameters,
                trial=best.number,
                expected=_expected(record),
                shape=dataset.shape,
                table=dataset.table,
                condition_width=dataset.condition_width,
                masks=filling_of(dataset) is not None,
                own=own_code(again.network),
            ),
            encoding="utf-8",
        ),
    }
    with _tell_uncopied(loaded.definition.model):
        _write(files, folder)
    return Exported(
        folder=folder,
        files=tuple(files),
        trial=best.number,
        confirmed=record.winner is not None,
        seed=row.run.seed,
        fresh=fresh,
        kl=run.kl,
        window=record.definition.gates.window,
        matches=not mismatches(row.result, again.result),
        notes=(*_notes(loaded, dataset, again, models), *([since.sentence] if since else [])),
    )


@contextmanager
def _tell_uncopied(model: ModelSection) -> Iterator[None]:
    """A block that copies or saves the models, whose errors are told in one line where they are the user's own."""
    try:
        yield
    except NotImplementedError as error:
        raise UsageError(
            f"the models cannot be copied, for a class of {model.kind} has arguments that Keras cannot save; give it a "
            "get_config() that names them, as Keras asks."
        ) from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever copying and saving a layer of the user's own raises
        if not model.is_own:
            raise
        raise UsageError(
            f"the models of {model.kind} cannot be copied and saved by Keras ({one_line(error)}); make its layers "
            "with functions by name (no lambda, partial or method), and give its classes a get_config()."
        ) from error


def _chosen(study: StudyStorage, record: StudyRecord) -> tuple[TrainingRun, Row]:
    """The training whose models are exported, as a record and as the row to train again."""
    best = summarize(record).best
    if best is None or best.diverged:
        raise UsageError(f"study {record.name!r} has no trial that was trained to its end, so there is none to export.")
    passed = [run for run in runs_of(record, "winner") if run.passed]
    if not passed:
        return best, study.row(best.number)
    run = min(passed, key=lambda run: (run.score, run.seed))
    rows = confirmed_rows(study, record.definition)
    return run, next(row for row in rows if (row.run.label, row.run.seed) == (run.candidate, run.seed))


def filling_of(dataset: Dataset) -> np.ndarray | None:
    """What the encoder is given for a missing value; None where none is, whether or not gaps would be masked."""
    return Gaps(dataset.splits).filling


def gap_notes(dataset: Dataset) -> list[str]:
    """What rows with missing values need before a model or a formula is given them; nothing where none is missing."""
    if filling_of(dataset) is None:
        return []
    return [
        "encoder.keras and formulas of rows take no missing values (NaN): put 'filling' of scaler.json in their place, "
        "after scaling: keras.ops.where(keras.ops.isnan(rows), filling, rows)"
    ]


def describe_scaling(dataset: Dataset) -> str:
    """How raw rows become the model's, and a table's columns numbers before that, as JSON."""
    tokens = f"scaled[row, place, token] = 1 for the token of each place; a place without one ({PADDING}) is 0 in all"
    formula = "scaled = (raw - offset) / scale" if dataset.scaling.alphabet is None else tokens
    about: dict[str, Any] = {"formula": formula, "columns": dataset.columns}
    if dataset.table is not None:
        about["encoding"] = "raw = 1 in the column 'name=category' of the row's category, 0 in its others"
        about["table"] = [asdict(column) for column in dataset.table]
    filling = filling_of(dataset)
    if filling is not None:
        about["missing"] = "after scaling, a missing value is what 'filling' has in its place: the training mean"
        about["filling"] = filling.tolist()
    if dataset.condition is not None:
        about["condition"] = dataset.condition.encoding.as_json()
    return json.dumps({**about, **dataset.scaling.as_json()}, indent=2) + "\n"


def _definition(loaded: LoadedDefinition, trial: int, row: Row) -> str:
    """The study's definition under another name, with the settings as a baseline to beat."""
    ending = f"trial-{trial}"
    name = extended_name(loaded.definition.study.name, f"-{ending}")
    return with_baseline(loaded, ending, row.run.hyperparameters, study=name)


def _expected(record: StudyRecord) -> str:
    """What trainings with these settings reached in the study."""
    runs = runs_of(record, "winner")
    best = summarize(record).best
    assert best is not None
    if not runs:
        return (
            f"In the study it ended at a KL of {number(best.kl)} nats per latent; it is not confirmed on fresh seeds."
        )
    kls = [run.kl for run in runs if math.isfinite(run.kl)]
    if not kls:
        return f"It diverged on all of {len(runs)} fresh seeds."
    lost = f"; on {len(runs) - len(kls)} of them it diverged" if len(kls) < len(runs) else ""
    return f"On {len(runs)} fresh seeds it ended at a KL of {min(kls):.3g} to {max(kls):.3g} nats per latent{lost}."


def _notes(loaded: LoadedDefinition, dataset: Dataset, again: RetrainedMember, models: PlainModels) -> tuple[str, ...]:
    notes = [f"encoder.keras {note}" for note in loading_notes(models.encoder)]
    notes += [f"decoder.keras {note}" for note in loading_notes(models.decoder)]
    notes += [f"encoder.keras: {note}" for note in models.notes]
    if dataset.condition_width:
        notes.append(
            f"encoder.keras takes [rows, condition] and decoder.keras [z, condition], the condition [n, "
            f"{dataset.condition_width}] as scaler.json describes it"
        )
    likelihood = loaded.definition.objective().likelihood.for_rows(dataset.shape, dataset.table)
    brought = again.network.brought
    if brought is not None and brought.logits is not None:
        notes.append("decoder.keras ends in your sigmoid: it gives reconstructions")
    elif mean := likelihood.keras_mean_of(dataset.shape):
        notes.append(f"decoder.keras gives {likelihood.output_name}: a reconstruction is {mean}")
    notes += gap_notes(dataset)
    settings = again.member
    if settings.clip_low[0] > -float("inf") or settings.clip_high[0] < float("inf"):
        notes.append("encoder.keras clips z_log_var as in training")
    definition = loaded.definition
    own = [definition.data.source] if ":" in definition.data.source else []
    own += [definition.model.kind] if definition.model.is_own else []
    if own:
        notes.append(f"best.toml uses {' and '.join(own)}: keep it beside your modules")
    return tuple(notes)


def _write(files: dict[str, Callable[[Path], Any]], folder: Path) -> None:
    """Write all files beside the folder first, then move them there: in one step where it is new."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        whole = Path(unfinished) / "whole"
        whole.mkdir()
        for name, write in files.items():
            write(whole / name)
        if folder.exists():
            for name in files:
                os.replace(whole / name, folder / name)
        else:
            os.replace(whole, folder)
