"""A training of a user's own that was watched, with the words, figures and gates of a study's report."""

import math
from datetime import UTC, datetime

import numpy as np

from klsearch.reports.page import (
    Banner,
    Block,
    Code,
    Gallery,
    Mark,
    Page,
    Prose,
    Section,
    Step,
    Steps,
    Table,
    Tile,
    Tone,
)
from klsearch.reports.readings.candidates import CandidateRuns
from klsearch.reports.readings.models import WATCHED, curve_band, latent_profile
from klsearch.reports.sections.models.dynamics import curve_exhibits, describe_parts, latent_exhibit
from klsearch.reports.wording import capitalized, count, duration, number, share, spread, utc
from klsearch.studies.definitions.present import define_watched
from klsearch.studies.record import RunState, TrainingRun
from klsearch.vae.diagnostics.diagnosis import Diagnosis
from klsearch.vae.diagnostics.gates import GATES, final_kl
from klsearch.vae.diagnostics.watched import FAULTS, Watched
from klsearch.vae.hyperparameters import Hyperparameters

_SEARCH = (
    "Save this as `mine.toml` beside your code, and put in what watching cannot tell: `klsearch run mine.toml` "
    "searches the settings and proves them on fresh seeds, beside those of this training, its `[baselines.mine]`."
)


def watched_page(watched: Watched, name: str) -> Page:
    """The content of the page of a model's training, without a line of HTML."""
    told = watched.diagnose()
    return Page(
        study=name,
        kind="watched training · model",
        origin="what KLMonitor saw of a training",
        banner=_banner(watched, told),
        sections=(
            Section(identity="next", title="What next?", blocks=_next_blocks(told)),
            Section(identity="dynamics", title="What did the KL do?", blocks=_curve_blocks(watched)),
            Section(identity="gates", title="Would it pass?", blocks=_gate_blocks(watched)),
            Section(identity="measured", title="What was measured?", blocks=_measured_blocks(watched)),
            Section(
                identity="search",
                title="Which study goes on?",
                blocks=_search_blocks(watched, told, name),
            ),
        ),
        as_of=utc(datetime.now(UTC)),
    )


def _tone(verdict: str) -> Tone:
    if verdict in FAULTS:
        return "bad"
    return "good" if verdict == "healthy" else "caution"


def _banner(watched: Watched, told: Diagnosis) -> Banner:
    curves, measures = watched.curves, watched.measures
    band = spread(*watched.thresholds.kl_band)
    kl = final_kl(curves, watched.thresholds.window)
    logged, weight = float(curves.kl_weight[-1]), told.numbers["kl_weight"] if told.refutation else None
    tiles = [Tile(label="Final KL", value=number(kl), detail=f"nats per latent, band {band}")]
    if measures is not None:
        latents = measures.latent_dim
        needed = watched.thresholds.active_units_needed(latents)
        tiles += [
            Tile(label="Unexplained", value=number(measures.unexplained), detail="of the variance of the watched rows"),
            Tile(
                label="Active latents",
                value=f"{measures.active_units} of {latents}",
                detail=f"at least {needed} needed",
            ),
        ]
    known = "at the end of training" if math.isfinite(logged) else "not known: name it as KLMonitor(kl_weight=…)"
    if weight is not None:
        known = f"by your loss: the {number(logged)} that was logged has no effect"
    tiles.append(Tile(label="KL weight", value=number(logged if weight is None else weight), detail=known))
    return Banner(
        word=capitalized(told.verdict.replace("_", " ")),
        tone=_tone(told.verdict),
        sentence=f"{told.reasons[0]} First: {told.next[:1].lower()}{told.next[1:]}",
        tiles=tuple(tiles),
    )


def _next_blocks(told: Diagnosis) -> tuple[Block, ...]:
    first = Step(action=told.next.rstrip("."), reason=" ".join(told.reasons))
    then = Step(action="Search the settings", reason="The definition at the end of this page is the beginning.")
    return (Steps(items=(first, then)),)


def _search_blocks(watched: Watched, told: Diagnosis, name: str) -> tuple[Block, ...]:
    return Prose(text=_SEARCH), Code(label="mine.toml", text=define_watched(watched, told, name))


def _candidate(watched: Watched) -> CandidateRuns:
    weight = float(watched.curves.kl_weight[-1])
    run = TrainingRun(
        state=RunState.COMPLETE,
        hyperparameters=Hyperparameters(kl_weight=weight if math.isfinite(weight) else 0.0),
        seed=0,
        curves=watched.curves,
        measures=watched.measures,
        gates=watched.gates,
    )
    return CandidateRuns(name="training", label="training", runs=(run,))


def _curve_blocks(watched: Watched) -> tuple[Block, ...]:
    candidate = _candidate(watched)
    bands = {curve: curve_band(candidate, curve, 1.0) for curve in WATCHED}
    exhibits = curve_exhibits(
        {
            curve: () if band is None or not np.any(np.isfinite(band.median)) else (band,)
            for curve, band in bands.items()
        },
        unit=watched.thresholds.kl_unit,
        shade=watched.thresholds.kl_band,
        loss="sum",
    )
    profile = latent_profile(candidate)
    if profile is None:
        return (Gallery(exhibits=exhibits),)
    return (
        Gallery(exhibits=exhibits),
        Gallery(exhibits=(latent_exhibit((profile,)),)),
        Prose(text=describe_parts(profile)),
    )


def _gate_blocks(watched: Watched) -> tuple[Block, ...]:
    gates = watched.gates
    rows = tuple(
        (
            gate.name,
            Mark(text="passes", tone="good") if gate.passed else Mark(text="misses", tone="bad"),
            number(gate.value),
            f"{gate.threshold} {watched.thresholds.kl_unit}" if rule.in_band_unit else gate.threshold,
            rule.meaning,
        )
        for gate, rule in zip(gates, GATES, strict=True)
    )
    table = Table(
        caption="The gates of a study, for this one training",
        columns=("gate", "result", "measured", "threshold", "passes when"),
        rows=rows,
        words=(0, 1, 2, 3, 4),
    )
    text = (
        "One training is one seed: another may miss what this one passes. A study proves settings on at least eight "
        "seeds that played no part in choosing it."
    )
    return table, Prose(text=text)


def _measured_blocks(watched: Watched) -> tuple[Block, ...]:
    text = (
        f"After each of {count(watched.curves.epochs, 'epoch')}, on {count(watched.rows, 'row')} that were given to "
        f"KLMonitor, with dropout off and the same noise each time: KL, ½(e^lv + μ² − 1 − lv), mean over rows and "
        f"latents; the reconstruction error, squared, summed over a row's values, of the decoder's output as the "
        f"reconstruction itself (KLMonitor(logits=True) puts a sigmoid on it); `unexplained`, that over the error of "
        f"predicting the rows' mean. The total is the loss that `fit` logs; the KL weight is what it logs, or an "
        f"attribute of the model, or what KLMonitor was given."
    )
    took = f"Training took {duration(watched.seconds)}; watching took {share(watched.cost)} of it."
    return (
        *(Prose(text=f"{note.removesuffix('.')}.", tone="caution") for note in watched.notes),
        Prose(text=text),
        Prose(text=took),
    )
