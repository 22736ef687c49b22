"""Pictures of what the models make of the data: of images, or of how well each column of a table comes back."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from klsearch.reports.figures.legends import mark_legend
from klsearch.reports.figures.paint import paint_columns, paint_images
from klsearch.reports.figures.series_exhibits import series_blocks
from klsearch.reports.figures.svg import NAMES, draw, image_height
from klsearch.reports.page import Block, Exhibit, Gallery, Prose, Section, Table
from klsearch.reports.readings.candidates import compared_candidates, seeds_words
from klsearch.reports.readings.models import mean_mismatch
from klsearch.reports.wording import capitalized, count, number
from klsearch.studies.record import StudyRecord
from klsearch.vae.evaluation.samples import ColumnErrors, ImageSamples, Samples, SeriesSamples

# Of a table's columns, so many of the worst and of the best are shown.
_COLUMNS = 8
_NARROW = 84  # points for the short names beside a row of images


def pictures_section(study: StudyRecord) -> Section:
    """Originals, reconstructions, samples and a latent traversal; series; or the worst and best columns of a table."""
    return Section(identity="pictures", title="What do the models make of the data?", blocks=_blocks(study))


def _blocks(study: StudyRecord) -> tuple[Block, ...]:
    if isinstance(study.samples, ImageSamples):
        return _image_blocks(study, study.samples)
    if isinstance(study.samples, SeriesSamples):
        return series_blocks(study, study.samples, _names(study, study.samples))
    if isinstance(study.samples, ColumnErrors):
        return _column_blocks(study, study.samples)
    if study.winner is None:
        return (Prose(text="Nothing is shown yet: pictures are made when the winner is confirmed."),)
    return (Prose(text="Nothing is shown: it was left out, or these rows cannot be drawn. No data is in this report."),)


def _image_blocks(study: StudyRecord, samples: ImageSamples) -> tuple[Block, ...]:
    rows = count(len(samples.originals), "row")
    notice = (
        f"This report holds data: {rows} of the {samples.split} split, and what one confirmed model of each candidate "
        f"makes of them. `klsearch report --no-samples` leaves them out."
    )
    exhibits = (
        _reconstructions_exhibit(study, samples),
        _prior_exhibit(study, samples),
        _traversal_exhibit(study, samples),
    )
    # One to a gallery, which gives each its full width.
    return Prose(text=notice), *(Gallery(exhibits=(one,)) for one in exhibits)


def _deviance(study: StudyRecord) -> str:
    return study.definition.objective().likelihood.deviance.words


def _names(study: StudyRecord, samples: Samples) -> tuple[str, ...]:
    """The models as the report calls them."""
    return tuple("winner" if name == f"trial {study.winner}" else name for name in samples.names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """A grid of images.

    Attributes:
        images: shape [rows, columns, height, width, channels].
        labels: a name to each row.
        columns: a name to each column; empty for none.
        label: what the columns' names are.
    """

    images: np.ndarray
    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()
    label: str = ""


def _image_exhibit(identity: str, grid: _Grid, *, title: str, caption: str, alternative: str, data: Table) -> Exhibit:
    images, columns = grid.images, grid.columns
    paint = partial(paint_images, images=images, labels=grid.labels, columns=columns, label=grid.label)
    below = None if columns else 4
    height = image_height(images.shape[0], images.shape[1], images.shape[2] / images.shape[3], _NARROW, below=below)
    svg = draw(identity, alternative, paint, height=height, left=_NARROW, below=below)
    return Exhibit(identity=identity, title=title, caption=caption, alternative=alternative, svg=svg, data=data)


def _reconstructions_exhibit(study: StudyRecord, samples: ImageSamples) -> Exhibit:
    names = _names(study, samples)
    means = [number(float(np.mean(errors))) for errors in samples.unexplained]
    told = ", ".join(f"{name} {mean}" for name, mean in zip(names, means, strict=True))
    alternative = (
        f"{count(len(samples.originals), 'row')} of the {samples.split} split above their reconstructions; mean "
        f"unexplained over these rows: {told}."
    )
    rows = tuple(
        (str(row + 1), *(number(float(errors[row])) for errors in samples.unexplained))
        for row in range(len(samples.originals))
    )
    return _image_exhibit(
        "reconstructions",
        _Grid(
            images=np.concatenate([samples.originals[np.newaxis], samples.reconstructions]),
            labels=("original", *names),
        ),
        title="Originals and reconstructions",
        caption=f"Unexplained, mean over these rows: {told}. From one posterior sample each, on one fresh seed.",
        alternative=alternative,
        data=Table(
            caption=f"{capitalized(_deviance(study))} over that of predicting the training mean",
            columns=("row", *names),
            rows=rows,
        ),
    )


def _prior_exhibit(study: StudyRecord, samples: ImageSamples) -> Exhibit:
    names = _names(study, samples)
    by_name = {one.name: one for one in compared_candidates(study)}
    rows = tuple(
        (
            name,
            number(by_name[name].median(lambda run: mean_mismatch(run.measures))),
            number(by_name[name].median(lambda run: run.kl)),
        )
        for name in names
        if name in by_name
    )
    told = ", ".join(f"{row[0]} {row[1]}" for row in rows)
    return _image_exhibit(
        "prior-samples",
        _Grid(images=samples.prior_samples, labels=names),
        title="Drawn from the prior",
        caption=(
            f"The same random latents decoded by each model{_conditions(samples)}. They look like data only where the "
            f"latents follow the prior; prior mismatch, nats per latent: {told}."
        ),
        alternative=(
            f"{count(samples.prior_samples.shape[1], 'image')} decoded from the prior by each model; prior mismatch in "
            f"nats per latent: {told}."
        ),
        data=Table(
            caption=(
                f"How far the latents are from the prior, median over {seeds_words(compared_candidates(study))}, "
                "validation split"
            ),
            columns=("candidate", "prior mismatch, nats per latent", "KL, nats per latent"),
            rows=rows,
        ),
    )


def _conditions(samples: ImageSamples) -> str:
    """Under which conditions the prior was drawn from, as a part of a sentence; empty for models without."""
    if not samples.conditions:
        return ""
    return f" under the commonest conditions, from the left: {'; '.join(samples.conditions)}"


def _traversed_condition(samples: ImageSamples) -> str:
    return f" The condition is that row's: {samples.traversed_condition}." if samples.traversed_condition else ""


def _traversal_exhibit(study: StudyRecord, samples: ImageSamples) -> Exhibit:
    changes = np.mean(np.abs(samples.traversal[:, -1].astype(float) - samples.traversal[:, 0]), axis=(1, 2, 3)) / 255
    latents = [str(latent + 1) for latent in samples.latents]
    kl_by_latent = [number(float(kl)) for kl in samples.latent_kl]
    told = ", ".join(f"latent {latent}: {kl}" for latent, kl in zip(latents, kl_by_latent, strict=True))
    ends = f"{samples.values[0]:g} to {samples.values[-1]:g}"
    name = _names(study, samples)[0]
    rows = tuple(
        (latent, kl, number(float(change))) for latent, kl, change in zip(latents, kl_by_latent, changes, strict=True)
    )
    return _image_exhibit(
        "traversal",
        _Grid(
            images=samples.traversal,
            labels=tuple(f"latent {latent}" for latent in latents),
            columns=tuple(f"{value:.2g}" for value in samples.values),
            label="value of the latent, in standard deviations of the prior",
        ),
        title=f"One latent at a time, {name}",
        caption=(
            f"The first row's latents, of which one is set from {ends}; the most informative latents first. A latent "
            f"that changes nothing carries nothing.{_traversed_condition(samples)}"
        ),
        alternative=f"Decoded images as one latent goes from {ends}. KL of each latent in nats: {told}.",
        data=Table(
            caption="What each latent carries and changes",
            columns=("latent", "KL, nats", "mean change of a pixel from end to end, share of the range"),
            rows=rows,
        ),
    )


def _column_blocks(study: StudyRecord, samples: ColumnErrors) -> tuple[Block, ...]:
    shown = _shown_columns(samples)
    worst = len(shown) if len(shown) == len(samples.columns) else _COLUMNS
    names = _names(study, samples)
    columns = [samples.columns[index] for index in shown]
    errors = samples.unexplained[:, shown]
    rows = tuple(
        (column, *(number(float(value)) for value in values)) for column, values in zip(columns, errors.T, strict=True)
    )
    told = f"the worst is {columns[0]} ({number(float(errors[0, 0]))}), the best {columns[-1]} ({rows[-1][1]})"
    alternative = f"Unexplained by column on the {samples.split} split. Of the {names[0]}, {told}."
    which = "All columns" if worst == len(shown) else f"The {worst} worst and the {len(shown) - worst} best columns"
    order = [one.name for one in compared_candidates(study)]
    paint = partial(
        paint_columns,
        columns=columns,
        errors=errors,
        places=[order.index(name) if name in order else place for place, name in enumerate(names)],
    )
    exhibit = Exhibit(
        identity="columns",
        title="Which columns come back?",
        caption=(
            f"{which} of {samples.of} that vary, the worst reconstructed by the {names[0]} first: "
            f"{_deviance(study)} over that of predicting its training mean, {samples.split} split, one fresh seed. "
            "At 1 a column is lost."
        ),
        alternative=alternative,
        svg=draw("columns", alternative, paint, height=52 + 22 * len(shown), left=NAMES),
        data=Table(caption="Unexplained by column", columns=("column", *names), rows=rows),
    )
    notice = (
        "This report holds the names of the data's columns, but none of its rows; `klsearch report --no-samples` "
        "leaves the names out."
    )
    return Gallery(exhibits=(exhibit,), legend=mark_legend(study)), Prose(text=notice)


def _shown_columns(samples: ColumnErrors) -> list[int]:
    every = list(range(len(samples.columns)))
    return every if len(every) <= 2 * _COLUMNS else every[:_COLUMNS] + every[-_COLUMNS:]
