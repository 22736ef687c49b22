"""Where the numbers come from, and what the words mean."""

from reports.banner import utc
from reports.evidence import kl_unit
from reports.parts import Block, Code, Facts, Fold, Prose, Section
from reports.wording import count, number, spread
from studies.record import StudyRecord

_GLOSSARY = (
    ("KL", "How far the encoder's distribution of a row's latents is from the prior, in nats: ½(e^lv + μ² − 1 − lv), with μ and lv the latent's mean and log-variance, mean over rows. Per latent: mean over latents; summed: times their number."),
    ("final KL", "Mean of the validation KL over the last {window} epochs, at the full KL weight."),
    ("mean part, variance part", "½μ² and ½(e^lv − 1 − lv): together the KL. Clipping the log-variance limits only the second."),
    ("reconstruction", "How far a row's reconstruction is from it: squared error, or cross-entropy for Bernoulli; summed over features or their mean, as the definition asks, then mean over rows."),
    ("unexplained", "Squared error divided by that of predicting the training mean: 0 is perfect, 1 is no better than the mean. It does not depend on the KL weight, so trials can be compared by it."),
    ("ELBO", "Evidence lower bound in nats at KL weight 1; higher is better. It ranks trials of one study, not of different data or scalings."),
    ("KL weight, annealing", "The factor of the KL in the loss. It rises linearly from 0 over the annealing epochs; while it does, the total loss may rise without anything being wrong."),
    ("active latents", "Latents whose mean varies over rows with a variance of at least 0.01 (Burda et al. 2016). A model with hardly any has collapsed: its decoder ignores the latents."),
    ("clipped", "Share of rows and latents whose log-variance lies at or beyond a clip bound; the larger of the lower and the upper one."),
    ("KL slope", "Least-squares slope of the validation KL over the last {window} epochs, relative to its mean, per epoch."),
    ("prior mismatch", "How far all rows' latents together are from the prior, per latent, in nats. Much of it means that sampling from the prior gives latents that the decoder has not seen."),
    ("score", "What the search minimises: `unexplained` (at most 2) plus a penalty for a KL outside the band. A diverged trial scores 2 plus the whole penalty."),
    ("gates", "The six tests that a stable training passes. Band, alive, settled and clipping are also constraints of the search: a trial that meets them is feasible."),
    ("baselines", "Settings trained beside the winner: `before` and `after` are those of the hand-made recipe, others are the user's own."),
    ("confirmation", "The leading trials and the baselines, trained again on fresh seeds. The winner is chosen on the validation split; then winner and baselines are scored on the test split."),
    ("95 % interval of a pass rate", "Wilson's interval: the pass rates that so many passes among so few seeds leave plausible."),
    ("95 % interval of a difference", "Student's t over the seeds that both trained on. It speaks of training noise, not of sampling the data."),
    ("stable", "At least 8 fresh seeds, all of them passing every gate (95 % of them from 20 seeds on). With caveats: at least 75 %, or the winner lies on an edge of its range, or a baseline does as well."),
)  # fmt: skip


def provenance_section(study: StudyRecord) -> Section:
    """Versions, machine, data and the definition as it was written."""
    blocks: tuple[Block, ...] = (
        Facts(pairs=(*_study_facts(study), *_data_facts(study), *study.provenance.items())),
        *(Prose(text=f"Data: {warning}", tone="caution") for warning in (study.data.warnings if study.data else ())),
        Fold(
            summary="The study definition, as run",
            blocks=(Code(label="Definition", text=study.definition_toml),),
        ),
    )
    return Section(identity="provenance", title="Where the numbers come from", blocks=blocks)


def _study_facts(study: StudyRecord) -> tuple[tuple[str, str], ...]:
    started = [trial.started for trial in study.trials if trial.started is not None]
    ended = [run.ended for run in (*study.trials, *study.confirmation) if run.ended is not None]
    asked = study.definition
    hidden = asked.model.hidden or asked.model.filters
    sizes = "-".join(str(size) for size in hidden) if hidden else asked.model.kind
    return (
        ("study", study.name),
        ("storage", study.storage),
        ("definition fingerprint", study.fingerprint),
        ("first trial started", utc(min(started)) if started else "not yet"),
        ("last training ended", utc(max(ended)) if ended else "not yet"),
        ("model", f"{asked.model.kind}, {sizes}, {count(asked.model.latent_dim, 'latent')}, {asked.model.likelihood}"),
        ("training", f"{count(asked.training.epochs, 'epoch')}, batches of {asked.training.batch_size}"),
        ("KL band", f"{spread(*asked.thresholds().kl_band)} {kl_unit(study)}"),
        ("penalty", number(asked.study.penalty)),
    )


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


def glossary_section(study: StudyRecord) -> Section:
    """The words of the report, in plain words."""
    window = study.definition.gates.window
    pairs = tuple((word, meaning.format(window=window)) for word, meaning in _GLOSSARY)
    return Section(identity="glossary", title="How to read this", blocks=(Facts(pairs=pairs),))
