"""*What did the KL do?* The four watched curves, KL per latent, and where the winner and the baselines ended."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from klsearch.reports.figures.latent_map_exhibits import latent_map_blocks
from klsearch.reports.figures.legends import line_legend
from klsearch.reports.figures.paint import Band, paint_curves, paint_latents
from klsearch.reports.figures.svg import draw
from klsearch.reports.page import Block, Exhibit, Gallery, Heading, Prose, Section, Table
from klsearch.reports.readings.candidates import compared_candidates, seeds_words
from klsearch.reports.readings.differences import difference_on_test, pairs_cell
from klsearch.reports.readings.models import (
    COLLAPSED_NATS,
    WATCHED,
    CurveBand,
    LatentProfile,
    annealing_rise,
    curve_bands,
    curve_labels,
    latent_profiles,
    mean_mismatch,
)
from klsearch.reports.readings.response_words import format_slope
from klsearch.reports.readings.responses import Responses, training_gap
from klsearch.reports.readings.rivals import curves_note
from klsearch.reports.readings.units import kl_factor, kl_unit
from klsearch.reports.tables import measure
from klsearch.reports.wording import capitalized, count, listed, number, share, spread, within
from klsearch.studies.record import StudyRecord, TrainingRun
from klsearch.studies.verdict.candidates import baseline_names
from klsearch.studies.verdict.differences import Difference

# A curve's table shows this many epochs; the trend is read from it, not the noise.
_TABLE_EPOCHS = 10


def dynamics_section(study: StudyRecord, measured: Responses) -> Section:
    """The curves of the winner and the baselines; `measured` as `reports.readings.responses.responses` gives it."""
    return Section(identity="dynamics", title="What did the KL do?", blocks=_blocks(study, measured))


def _blocks(study: StudyRecord, measured: Responses) -> tuple[Block, ...]:
    exhibits = _curve_exhibits(study)
    if not exhibits:
        return (Prose(text="No trial has finished, so there are no curves to show yet."),)
    return (
        Prose(text=_describe_endings(study)),
        Gallery(exhibits=exhibits, legend=line_legend(study)),
        *_rise_blocks(study),
        *(Prose(text=note) for note in [curves_note(study)] if note),
        Heading(text="Inside the latent space"),
        endings_table(study),
        Prose(text=_describe_gap(study, measured)),
        *_mismatch_blocks(study),
        *_latent_blocks(study),
        *latent_map_blocks(study),
    )


def _has_seeds(study: StudyRecord) -> bool:
    return any(len(one.runs) > 1 for one in compared_candidates(study))


def _describe_endings(study: StudyRecord) -> str:
    """The KL at which each candidate ended, against the band."""
    factor, band = kl_factor(study), study.definition.thresholds().kl_band
    told = []
    for one in compared_candidates(study):
        final = factor * one.median(lambda run: run.kl)
        lost = f"{one.label if len(one.runs) == 1 else one.name} diverged"
        told.append(lost if math.isnan(final) else f"{one.label} {number(final)}")
    of = f"median over {seeds_words(compared_candidates(study))}" if _has_seeds(study) else "one training"
    return f"Final KL in {kl_unit(study)}, {of}: {'; '.join(told)}. The band is {spread(*band)}."


def _curve_exhibits(study: StudyRecord) -> tuple[Exhibit, ...]:
    return curve_exhibits(
        {curve: curve_bands(study, curve) for curve in WATCHED},
        unit=kl_unit(study),
        shade=study.definition.thresholds().kl_band,
        loss=study.definition.model.reconstruction_reduction,
    )


def curve_exhibits(
    bands: Mapping[str, tuple[CurveBand, ...]], *, unit: str, shade: Band | None, loss: str
) -> tuple[Exhibit, ...]:
    """The four watched curves, each of all candidates on the same axes; one that nobody has is left out.

    Args:
        bands: by curve of `reports.readings.models.WATCHED`.
        unit: of the KL.
        shade: the band to shade behind the KL.
        loss: how the error of a row is reduced over its features.
    """
    shaded = " The band is shaded." if shade else ""
    labels = curve_labels(unit)
    told = {
        "validation_kl": ("KL", f"Validation split.{shaded}"),
        "validation_reconstruction": (
            "Reconstruction",
            f"Validation split, {loss} over the features of a row, mean over rows.",
        ),
        "kl_weight": ("KL weight", "Mean over the steps of each epoch; it rises while it is annealed."),
        "total": ("Total", "Training loss: reconstruction + KL weight · KL + L2."),
    }
    return tuple(
        _curve_exhibit(curve, *told[curve], labels[curve], bands[curve], shade if curve == "validation_kl" else None)
        for curve in WATCHED
        if bands[curve]
    )


def _curve_exhibit(
    curve: str, title: str, caption: str, label: str, bands: tuple[CurveBand, ...], shade: Band | None
) -> Exhibit:
    identity = f"curve-{curve.replace('_', '-')}"
    fewest, runs = min(one.runs for one in bands), max(one.runs for one in bands)
    # A baseline that failed three times has left.
    seeds = f"{runs} seeds" if fewest == runs else f"{fewest} to {runs} seeds"
    over = f"median over {seeds}, quartiles shaded" if runs > 1 else "one training"
    if runs > 1 and any(one.diverged for one in bands):
        over += ", each as far as it stayed finite"
    told = "; ".join(_describe_curve(one) for one in bands)
    alternative = f"{label} per epoch, {over}: {told}."
    if shade:
        alternative += f" The band is {spread(*shade)}."
    paint = partial(paint_curves, bands=bands, label=label, band=shade)
    return Exhibit(
        identity=identity,
        title=title,
        caption=f"{capitalized(over)}. {caption}",
        alternative=alternative,
        svg=draw(identity, alternative, paint),
        data=_curve_table(title, bands),
    )


def _describe_curve(band: CurveBand) -> str:
    finite = band.median[np.isfinite(band.median)]
    name = band.candidate.label
    if not finite.size:
        return f"{name} never finite"
    ended = f"{name} from {number(float(finite[0]))} to {number(float(finite[-1]))}"
    return f"{ended}, {band.diverged} of {band.runs} diverged" if band.diverged else ended


def _curve_table(title: str, bands: tuple[CurveBand, ...]) -> Table:
    longest = max(len(one.epochs) for one in bands)
    shown = sorted({round(at) for at in np.linspace(1, longest, min(longest, _TABLE_EPOCHS))})
    rows = tuple((str(epoch), *(_curve_cell(one, epoch) for one in bands)) for epoch in shown)
    several = max(one.runs for one in bands) > 1
    return Table(
        caption=f"{title} at {count(len(shown), 'epoch')}{', median (quartiles)' if several else ''}",
        columns=("epoch", *(one.candidate.label for one in bands)),
        rows=rows,
    )


def _curve_cell(band: CurveBand, epoch: int) -> str:
    if epoch > len(band.epochs):
        return number(math.nan)
    median, low, high = (float(values[epoch - 1]) for values in (band.median, band.low, band.high))
    return f"{number(median)} ({spread(low, high)})" if band.runs > 1 and math.isfinite(low) else number(median)


def _rise_blocks(study: StudyRecord) -> tuple[Prose, ...]:
    """An explanation where the total loss of a candidate rises while its KL weight is annealed."""
    risen = []
    for total, weight in zip(curve_bands(study, "total"), curve_bands(study, "kl_weight"), strict=True):
        rise = annealing_rise(total.median, weight.median)
        if rise is not None:
            low, high = f"{number(rise.low)} (epoch {rise.begins})", f"{number(rise.high)} (epoch {rise.ends})"
            risen.append(f"{total.candidate.label} from {low} to {high}")
    if not risen:
        return ()
    text = (
        f"The total loss rises while the KL weight is annealed: {'; '.join(risen)}. That is not a fault: the loss "
        f"itself changes from epoch to epoch, because the KL counts for more and more. Compare totals only at the "
        f"full weight."
    )
    return (Prose(text=text),)


def endings_table(study: StudyRecord) -> Table:
    """The end of each compared candidate: median over its runs, validation split."""
    factor = kl_factor(study)
    measures: tuple[tuple[str, Callable[[TrainingRun], float]], ...] = (
        (f"KL, {kl_unit(study)}", lambda run: factor * run.kl),
        ("mean part ½μ²", lambda run: factor * _latent_mean(run, "kl_mean_part")),
        ("variance part", lambda run: factor * _latent_mean(run, "kl_variance_part")),
        ("active latents", lambda run: measure(run.measures, "active_units")),
        ("unexplained", lambda run: run.unexplained),
        ("reconstruction", lambda run: measure(run.measures, "reconstruction")),
        ("validation less training reconstruction", training_gap),
        ("ELBO, nats", lambda run: measure(run.measures, "elbo")),
        ("prior mismatch, nats per latent", lambda run: mean_mismatch(run.measures)),
    )
    shares: tuple[tuple[str, Callable[[TrainingRun], float]], ...] = (
        ("at the lower clip bound", lambda run: measure(run.measures, "clip_share_low")),
        ("at the upper clip bound", lambda run: measure(run.measures, "clip_share_high")),
    )
    candidates = compared_candidates(study)
    return Table(
        caption="At the end of training, validation split"
        + (f", median over {seeds_words(candidates)}" if _has_seeds(study) else ""),
        columns=("measure", *(one.label for one in candidates)),
        rows=(
            *((name, *(number(one.median(read)) for one in candidates)) for name, read in measures),
            *((name, *(share(one.median(read)) for one in candidates)) for name, read in shares),
        ),
    )


def _latent_mean(run: TrainingRun, name: str) -> float:
    return math.nan if run.measures is None else float(np.mean(getattr(run.measures, name)))


def _describe_gap(study: StudyRecord, measured: Responses) -> str:
    """The gap between training and validation, and how dropout moves it."""
    leader = compared_candidates(study)[0]
    gap = number(leader.median(training_gap))
    text = (
        f"Validation less training reconstruction of the {leader.label}: {gap}. Training is measured with dropout on, "
        f"which raises its error, so a gap below 0 does not rule out overfitting."
    )
    dropout = measured.found.get("encoder_dropout")
    if dropout is None:
        return text
    effect = format_slope(dropout.gap)
    return f"{text} {dropout.step} more encoder dropout changes the gap by {effect}; n = {measured.trials}."


def _mismatch_blocks(study: StudyRecord) -> tuple[Block, ...]:
    """A comparison of how closely the winner's latent space and each baseline's follow the prior."""
    differences = {name: difference_on_test(study, name, mean_mismatch) for name in baseline_names(study)}
    known = {name: one for name, one in differences.items() if one.pairs > 1}
    if not known:
        return ()
    nearer = {name: _compare_distance(one) for name, one in known.items()}
    told = "; ".join(
        f"{words} {listed([name for name, one in nearer.items() if one == words])}"
        for words in (_CLOSER, _FARTHER, _UNCLEAR)
        if words in nearer.values()
    )
    text = (
        f"The winner's latents, over all rows of the test split, lie {told}. The closer to the prior, the more of what "
        f"is drawn from it lies where the decoder was trained."
    )
    lost = [one.left_out_words("winner", name) for name, one in differences.items() if name not in known]
    text += "".join(f" Too few pairs with a baseline: {words}." for words in lost if words)
    table = Table(
        caption="Prior mismatch on the test split, winner less baseline, nats per latent, paired by seed",
        columns=("baseline", "difference", "95 % interval", "seeds"),
        rows=tuple(
            (name, *within(one.mean, one.low, one.high), pairs_cell(one, "winner", name)) for name, one in known.items()
        ),
    )
    return Prose(text=text), table


_CLOSER, _FARTHER = "closer to the prior than those of", "farther from it than those of"
_UNCLEAR = "at a distance indistinguishable from that of"


def _compare_distance(difference: Difference) -> str:
    if difference.first_less:
        return _CLOSER
    return _FARTHER if difference.second_less else _UNCLEAR


def _latent_blocks(study: StudyRecord) -> tuple[Block, ...]:
    profiles = latent_profiles(study)
    if not profiles:
        return ()
    return (
        Gallery(exhibits=(latent_exhibit(profiles),), legend=line_legend(study)),
        Prose(text=describe_parts(profiles[0])),
    )


def latent_exhibit(profiles: tuple[LatentProfile, ...]) -> Exhibit:
    """KL per latent: the first profile's two parts as bars, the others as lines."""
    told = "; ".join(f"{_describe_profile(profile)}" for profile in profiles)
    alternative = f"KL per latent in nats, sorted within each seed: {told}."
    others = "Lines: the others. " if len(profiles) > 1 else ""
    return Exhibit(
        identity="latents",
        title="KL per latent",
        caption=(
            f"Bars: the {profiles[0].candidate.label}, the variance part stacked on the mean part. {others}"
            f"× marks a collapsed latent (below {COLLAPSED_NATS} nats)."
        ),
        alternative=alternative,
        svg=draw("latents", alternative, partial(paint_latents, profiles=profiles)),
        data=_latent_table(profiles),
    )


def _describe_profile(profile: LatentProfile) -> str:
    kl = profile.kl
    collapsed = f"{profile.collapsed} of {len(kl)} collapsed"
    return f"{profile.candidate.label} from {number(float(kl[0]))} to {number(float(kl[-1]))}, {collapsed}"


def _latent_table(profiles: tuple[LatentProfile, ...]) -> Table:
    first = profiles[0]
    columns = ("rank", f"{first.candidate.label}: mean part", "variance part")
    return Table(
        caption="KL per latent in nats, mean over the seeds, most informative first",
        columns=(*columns, *(profile.candidate.label for profile in profiles[1:])),
        rows=tuple(
            (
                str(rank + 1),
                number(float(first.mean_part[rank])),
                number(float(first.variance_part[rank])),
                *(number(float(profile.kl[rank])) for profile in profiles[1:]),
            )
            for rank in range(len(first.kl))
        ),
    )


def describe_parts(profile: LatentProfile) -> str:
    """The share of the KL that clipping can act on."""
    total = float(np.sum(profile.kl))
    part = float(np.sum(profile.variance_part)) / total if total > 0 else math.nan
    return (
        f"The variance part makes up {share(part)} of the KL of the {profile.candidate.label}. Clipping the "
        f"log-variance can act on that part alone; the rest is ½μ², on which L2 and the KL weight act."
    )
