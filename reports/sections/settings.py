"""*Set these*, or *Which settings?* The winner's beside the baselines', what was searched, and the text to paste."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from klsearch.reports.page import Block, Cell, Code, Mark, Prose, Section, Table
from klsearch.reports.readings.candidates import compared_candidates
from klsearch.reports.readings.rivals import rivals_note, weight_word
from klsearch.reports.readings.trials import passing_range
from klsearch.reports.wording import count, number, setting, spread
from klsearch.studies.definitions.proposed import toml_value
from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import Summary
from klsearch.studies.verdict.candidates import better_baseline
from klsearch.vae.diagnostics.gates import Verdict
from klsearch.vae.hyperparameters import CHOICES, NAMES, Hyperparameters, shown_names
from klsearch.vae.objective import Objective


def settings_section(study: StudyRecord, summary: Summary) -> Section:
    """The settings of the winner, or of the best trial so far; to be set only where the verdict bears that."""
    better = better_baseline(study) if _is_usable(summary) else None
    title = "Set these" if _is_usable(summary) and better is None else "Which settings?"
    blocks = _blocks(study, summary)
    if better is not None:
        text = f"The baseline {better} does better than the winner on the same seeds: see *What next?*"
        blocks = (Prose(text=text), *blocks)
    return Section(identity="settings", title=title, blocks=blocks)


def _is_usable(summary: Summary) -> bool:
    return summary.best is not None and summary.verdict in (Verdict.STABLE, Verdict.CAVEATS)


def _blocks(study: StudyRecord, summary: Summary) -> tuple[Block, ...]:
    if summary.best is None:
        return (Prose(text="No trial has finished, so there are no settings to show yet."),)
    return (
        settings_table(study, summary),
        *([] if study.data is None else [weight_table(study, summary.best.hyperparameters)]),
        *_export(study, summary),
        Prose(text=_how_to_read(study)),
        *(Prose(text=note) for note in [rivals_note(study)] if note),
        Code(
            label="Paste into a definition, to measure a later study against these settings",
            text=settings_toml(study, summary.best.number, summary.best.hyperparameters),
        ),
    )


def settings_table(study: StudyRecord, summary: Summary) -> Table:
    """One row per hyperparameter: the leader's value, the baselines', the range, and what passing trials used."""
    settings, edges, searched = _compared_settings(study), dict(summary.edges), study.definition.space.sampled()
    passing = count(sum(trial.passed for trial in study.complete), "passing trial")
    betas = (weight_word(study, name) or number(effective_beta(study, one)) for name, one in settings.items())
    shown = [name for name in (*NAMES, *CHOICES) if name in searched or name in shown_names(settings.values())]
    rows: list[tuple[Cell, ...]] = [_row(study, name, settings) for name in shown]
    rows.append(("β, nats per nat", *betas, "", ""))
    columns: tuple[str, ...] = ("hyperparameter", *settings, "searched", passing)
    if edges:
        columns = (*columns[:2], "note", *columns[2:])
        rows = [(*row[:2], _edge_note(edges, str(row[0])), *row[2:]) for row in rows]
    return Table(
        caption="Settings",
        columns=columns,
        rows=tuple(rows),
        words=tuple(index for index, column in enumerate(columns) if column not in settings),
    )


def weight_table(study: StudyRecord, settings: Hyperparameters) -> Table:
    """The KL weight that means the same in a loss of one's own, whatever it sums and whatever it takes the mean of."""
    assert study.data is not None
    beta, d, features = effective_beta(study, settings), study.definition.model.latent_dim, study.data.features
    rows = []
    ways: tuple[Literal["sum", "mean"], ...] = ("sum", "mean")
    for reconstruction in ways:
        losses = [Objective(reconstruction_reduction=reconstruction, kl_reduction=kl) for kl in ways]
        weights = [number(beta * loss.unit_kl_weight(features, d)) for loss in losses]
        own = study.definition.objective().reconstruction_scale(features)
        l2 = [number(settings.l2 * losses[0].reconstruction_scale(features) / own)] if settings.l2 else []
        rows.append((f"reconstruction: {reconstruction} over {features} features", *weights, *l2))
    columns = ["the KL weight in your own loss", f"KL: sum over {d} latents", f"KL: mean over {d} latents"]
    columns += ["l2 on the latent heads"] if settings.l2 else []
    return Table(caption="The same KL weight in other losses", columns=tuple(columns), rows=tuple(rows))


def _export(study: StudyRecord, summary: Summary) -> tuple[Code, ...]:
    """The command that gives the winner as Keras models, with these settings as code for a training loop."""
    if not (_is_usable(summary) and study.export_command):
        return ()
    label = "Take it away: Keras models, scaler, and these settings in plain Keras"
    return (Code(label=label, text=study.export_command),)


def _compared_settings(study: StudyRecord) -> dict[str, Hyperparameters]:
    """The leader's settings, then every baseline's, by what a reader calls them."""
    leader = compared_candidates(study)[0]
    return {leader.label: leader.runs[0].hyperparameters, **study.definition.baseline_hyperparameters()}


def _edge_note(edges: Mapping[str, str], name: str) -> Cell:
    """A mark if the leader's value lies on an edge of its range."""
    return Mark(f"on the {edges[name]} edge", "caution") if name in edges else ""


def _row(study: StudyRecord, name: str, settings: Mapping[str, Hyperparameters]) -> tuple[Cell, ...]:
    space = study.definition.space.sampled().get(name)
    values = [
        (weight_word(study, whose) if name == "kl_weight" else None) or setting(name, getattr(one, name))
        for whose, one in settings.items()
    ]
    if space is None:
        return name, *values, "fixed", ""
    if isinstance(space, tuple):
        return name, *values, ", ".join(space), _passing_options(study, name)
    searched = f"{spread(space.low, space.high)}{', log' if space.log else ''}"
    return name, *values, searched, passing_range(study, name) or "none passes"


def _passing_options(study: StudyRecord, name: str) -> str:
    found = Counter(getattr(trial.hyperparameters, name) for trial in study.complete if trial.passed)
    return ", ".join(f"{word} {times}" for word, times in found.most_common()) or "none passes"


def effective_beta(study: StudyRecord, settings: Hyperparameters) -> float:
    """The KL weight in nats per nat of reconstruction, whatever means or sums the loss takes.

    See `vae.objective.Objective.unit_kl_weight`. 1 is the evidence lower bound. NaN while D is not known.
    """
    objective, latents = study.definition.objective(), study.definition.model.latent_dim
    if study.data is None and objective.reconstruction_reduction == "mean":
        return math.nan
    features = 1 if study.data is None else study.data.features
    return settings.kl_weight / objective.unit_kl_weight(features, latents)


def settings_toml(study: StudyRecord, trial: int, settings: Hyperparameters) -> str:
    """The settings as a `[baselines]` table at full precision; `-inf` and `inf` say that nothing is clipped."""
    # No gradient clipping is what a definition says by leaving it out.
    lines = [f"{name} = {toml_value(getattr(settings, name))}" for name in shown_names([settings])]
    # json.dumps makes a line break in a name harmless to a TOML comment.
    return "\n".join([f"# trial {trial} of study {json.dumps(study.name)}", f"[baselines.trial-{trial}]", *lines, ""])


def _how_to_read(study: StudyRecord) -> str:
    training, fits = study.definition.training, study.definition.objective().likelihood.fits_variance
    variance = " of a Gaussian decoder with variance ½" if fits else ""  # what a squared error in nats means
    return (
        f"Numbers are rounded to 4 digits here and exact in the text below. β is the KL weight in nats per nat of "
        f"reconstruction, which makes weights comparable whatever means or sums a loss takes; at 1 the loss is the "
        f"negative evidence lower bound{variance}. A whole training takes {count(training.epochs, 'epoch')} in "
        f"batches of {training.batch_size}. `before` and `after` are the recipe that people apply by hand, before and "
        f"after they correct it."
    )
