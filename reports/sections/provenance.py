"""The origin of the numbers: the study, its data, versions and machine, and the definition as it was written."""

from klsearch.reports.page import Block, Code, Facts, Fold, Prose, Section
from klsearch.reports.readings.units import kl_unit
from klsearch.reports.wording import count, number, spread, utc
from klsearch.studies.record import StudyRecord


def provenance_section(study: StudyRecord) -> Section:
    """Versions, machine, data and the definition as it was written."""
    blocks: tuple[Block, ...] = (
        Facts(pairs=(*_study_facts(study), *_data_facts(study), *study.provenance.items())),
        *(Prose(text=f"Data: {note}") for note in (study.data.notes if study.data else ())),
        *(Prose(text=f"Data: {warning}", tone="caution") for warning in (study.data.warnings if study.data else ())),
        Fold(
            summary="The study definition, as run",
            blocks=(Code(label="Definition", text=study.definition_toml),),
        ),
    )
    return Section(identity="provenance", title="Where the numbers come from", blocks=blocks)


def _study_facts(study: StudyRecord) -> tuple[tuple[str, str], ...]:
    started = [trial.started for trial in study.trials if trial.started is not None and not trial.warm_start]
    ended = [run.ended for run in (*study.trials, *study.confirmation) if run.ended is not None]
    asked = study.definition
    layers = (*(asked.model.filters or ()), *(asked.model.hidden or ()))
    sizes = "-".join(str(size) for size in layers) if layers else "layers of its own"
    return (
        ("study", study.name),
        ("storage", study.storage),
        *((("warm start", study.warm_start),) if study.warm_start else ()),
        ("definition fingerprint", study.fingerprint),
        ("first trial started", utc(min(started)) if started else "not yet"),
        ("last training ended", utc(max(ended)) if ended else "not yet"),
        ("model", f"{asked.model.kind}, {sizes}, {count(asked.model.latent_dim, 'latent')}, {asked.model.likelihood}"),
        ("slots", f"{study.slots}; {_course(study)}"),
        ("training", f"{count(asked.training.epochs, 'epoch')}, batches of {asked.training.batch_size}"),
        ("KL band", f"{spread(*asked.thresholds().kl_band)} {kl_unit(study)}{_band_origin(study)}"),
        ("penalty", number(asked.study.penalty)),
    )


def _course(study: StudyRecord) -> str:
    if study.lag:
        return f"any number of them and of processes, up to {study.lag} trials at a time, takes the same course"
    return f"one process with --slots {study.slots} repeats the course of the study"


def _band_origin(study: StudyRecord) -> str:
    return "" if study.reference is None else f": {study.reference.words}"


def _data_facts(study: StudyRecord) -> tuple[tuple[str, str], ...]:
    if study.data is None:
        return (("data", f"{study.definition.data.source}, not loaded yet"),)
    rows = ", ".join(f"{n:,} {split}" for split, n in study.data.rows.items())
    shape = " × ".join(str(size) for size in study.data.shape)
    return (
        ("data", study.definition.data.source),
        ("rows", f"{rows}; each {shape}"),
        ("scaling", study.data.scaling),
        ("data fingerprint", study.data.fingerprint),
    )
