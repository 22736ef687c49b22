"""The meaning of the report's terms, in plain words."""

from klsearch.reports.page import Facts, Section
from klsearch.reports.wording import capitalized
from klsearch.studies.record import StudyRecord
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, GATE_NAMES
from klsearch.vae.hyperparameters import CHOICES, RULES, Choice, Rule

# {window} stands for the number of epochs over which the final KL is taken, {error} for what the likelihood minimises,
# {deviance} for what `unexplained` is a share of, {rise} for how the KL weight rises,
# {variance} for that of a Gaussian decoder.
_MEANINGS = {
    "KL": (
        "How far the encoder's distribution of a row's latents is from the prior, in nats: ½(e^lv + μ² − 1 − "
        "lv), with μ and lv the latent's mean and log-variance, mean over rows. Per latent: mean over "
        "latents; summed: times their number."
    ),
    "final KL": ("Mean of the validation KL over the last {window} epochs, at the full KL weight."),
    "mean part, variance part": (
        "½μ² and ½(e^lv − 1 − lv): together the KL. Clipping the log-variance limits only the second."
    ),
    "reconstruction": (
        "How far a row's reconstruction is from it: {error}, summed "
        "over features or their mean, as the definition asks, then mean over rows."
    ),
    "unexplained": (
        "{deviance} divided by that of predicting the training mean: 0 is perfect, 1 is no better than the "
        "mean. The KL weight is no part of it, so trials of different weights can be compared by it."
    ),
    "ELBO": (
        "Evidence lower bound in nats at KL weight 1{variance}; higher is better. It ranks trials of one study, not of "
        "different data or scalings."
    ),
    "KL weight, annealing": (
        "The factor of the KL in the loss. It {rise} over the annealing epochs; while it does, "
        "the total loss may rise without anything being wrong."
    ),
    "active latents": (
        "Latents whose mean varies over rows with a variance of at least 0.01 (Burda et al. 2016). A model "
        "with hardly any has collapsed: its decoder ignores the latents."
    ),
    "clipped": (
        "Share of rows and latents whose log-variance lies at or beyond a clip bound; the larger of the lower "
        "and the upper one."
    ),
    "KL slope": (
        "Least-squares slope of the validation KL over the last {window} epochs, relative to its mean, per epoch."
    ),
    "prior mismatch": (
        "How far all rows' latents together are from the prior, per latent, in nats. Much of it means that "
        "sampling from the prior gives latents that the decoder has not seen."
    ),
    "linear probe": (
        "A linear model of the rows' labels, fitted to the encoder's mean on the training split: what can be read off "
        "the latents without any further learning. The labels take no part in the training."
    ),
    "traversal": (
        "Pictures decoded from one row's latents, of which one is set from low to high: what that latent stands for. "
        "One that changes nothing has collapsed."
    ),
    "response": (
        "By how much the KL or `unexplained` changes with one more step of a hyperparameter, the others held: the mean "
        "slope of a least-squares fit, with squares, over the trials that did not diverge."
    ),
    "score": (
        "What the search minimises: `unexplained` (at most 2) plus a penalty for a KL outside the band. A "
        "diverged trial scores 2 plus the whole penalty."
    ),
    "gates": (
        f"The tests that a stable training passes: {', '.join(GATE_NAMES)}. Of these, {', '.join(CONSTRAINT_GATES)} "
        "are also constraints of the search: a trial that meets them is feasible."
    ),
    "baselines": (
        "What is trained beside the winner, for as many epochs: `before` and `after` are the settings of the hand-made "
        "recipe, others are the user's own settings, or a method that needs none."
    ),
    "confirmation": (
        "The leading trials race on seeds of their own, on the validation split. The winner is proven on fresh "
        "seeds that played no part in choosing it, beside the baselines; then all of them are scored on the test split."
    ),
    "95 % interval of a pass rate": (
        "Wilson's interval: the pass rates that so many passes among so few seeds leave plausible."
    ),
    "95 % interval of a response": (
        "Student's t with standard errors that hold where trials do not all scatter alike (HC3, MacKinnon and White "
        "1985). Trials are not drawn at random, so it is a guide, not a proof."
    ),
    "95 % interval of a difference": (
        "Student's t over the seeds that both trained on. It speaks of training noise, not of sampling the data."
    ),
    "stable": (
        "At least 8 fresh seeds, all of them passing every gate (95 % of them from 20 seeds on). With "
        "caveats: at least 75 %, or the winner lies on an edge that matters, or a baseline does as well."
    ),
}


def glossary_section(study: StudyRecord) -> Section:
    """The words of the report, in plain words."""
    window, likelihood = study.definition.gates.window, study.definition.objective().likelihood
    filled = {
        **{"window": window, "error": likelihood.error_name, "deviance": likelihood.deviance.words},
        "rise": _rise(study),
        "variance": ", with the one variance that suits the training rows best" if likelihood.fits_variance else "",
    }
    words = [(word, capitalized(meaning.format(**filled))) for word, meaning in _MEANINGS.items()]
    declared: dict[str, Rule | Choice] = {**RULES, **CHOICES}
    searched = [(name, f"{capitalized(declared[name].meaning)}.") for name in study.definition.space.sampled()]
    return Section(identity="glossary", title="How to read this", blocks=(Facts(pairs=(*words, *searched)),))


def _rise(study: StudyRecord) -> str:
    """How the KL weight rises, after "it"."""
    if "kl_schedule" in study.definition.space.choices():
        return "rises from 0, in the shape that each trial's `kl_schedule` names,"
    return study.definition.training.schedule().words
