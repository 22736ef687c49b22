"""Where rows lie in the latent space: of the winner, and of the settings that the user has."""

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from klsearch.reports.figures.paint import MapGroup, MapStyle, paint_map
from klsearch.reports.figures.palette import LINES
from klsearch.reports.figures.svg import draw
from klsearch.reports.page import Block, Exhibit, Gallery, LegendEntry, Prose, Table
from klsearch.reports.wording import count, number, share
from klsearch.studies.record import StudyRecord
from klsearch.vae.evaluation.latent_map import LatentMap

_HEIGHT = 330  # points: scales are equal, so that height is what a map needs
_CLASSES = 16  # more could not be told apart


def latent_map_blocks(study: StudyRecord) -> tuple[Block, ...]:
    """A map of the winner's latent space and one of the user's own settings, or else of the recipe's first."""
    found = study.latent_map
    if found is None:
        return ()
    classes = _classes_of(found)
    styles = {one: MapStyle.of(place) for place, one in enumerate(classes)}
    names = [f"trial {study.winner}", *study.definition.baselines, "before"]
    shown = [name for name in names if name in found.names and np.all(np.isfinite(found.places[_at(found, name)]))][:2]
    if not shown:
        return ()
    exhibits = tuple(_exhibit(study, found, name, classes, styles) for name in shown)
    legend = tuple(
        LegendEntry(label=one, color=f"var(--series-{LINES.index(style.line)})", path=style.shape.path)
        for one, style in styles.items()
    )
    rows = f"{count(found.places.shape[1], 'row')} of the {found.split} split"
    told = ", coloured by label" if classes else ""
    text = f"Each point is the encoder's mean of a row ({rows}{told}), along the two directions of most variance."
    if classes:
        text += " A label stands where its rows are on average, unless another stands there."
        text += " Rows that overlap here may lie apart in other directions."
    return Prose(text=text), Gallery(exhibits=exhibits, legend=legend)


def _at(found: LatentMap, name: str) -> int:
    return found.names.index(name)


def _classes_of(found: LatentMap) -> tuple[str, ...]:
    """The classes in the order of their names, numbers by size; none where there are too many to tell apart."""
    classes = sorted(set(found.labels), key=lambda one: (0, float(one), "") if _is_number(one) else (1, 0.0, one))
    return tuple(classes) if len(classes) <= _CLASSES else ()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) is not None


def _exhibit(
    study: StudyRecord, found: LatentMap, name: str, classes: Sequence[str], styles: dict[str, MapStyle]
) -> Exhibit:
    places, held = found.places[_at(found, name)], share(float(found.shares[_at(found, name)]))
    is_winner = name == f"trial {study.winner}"
    who = f"winner ({name})" if is_winner else name
    labels = np.array(found.labels)
    groups = [MapGroup(one, places[labels == one], styles[one]) for one in classes]
    groups = groups or [MapGroup("", places, MapStyle.of(0))]
    spread = [number(float(value)) for value in np.std(places, axis=0)]
    alternative = (
        f"Latent means of {'the ' * is_winner}{who} on their two principal axes, which hold {held} of their variance; "
        f"standard deviations {spread[0]} and {spread[1]}."
    )
    rows = tuple(
        (one.name or "all rows", str(len(one.places)), *(number(float(value)) for value in one.middle))
        for one in groups
    )
    identity = f"latent-map-{_at(found, name)}"
    return Exhibit(
        identity=identity,
        title=f"Latent space, {who}",
        caption=f"The two axes hold {held} of the variance of μ.",
        alternative=alternative,
        svg=draw(identity, alternative, partial(paint_map, groups=groups), height=_HEIGHT),
        data=Table(
            caption=f"Mean place by label, {who}",
            columns=("label", "rows", "first principal axis", "second"),
            rows=rows,
        ),
    )
