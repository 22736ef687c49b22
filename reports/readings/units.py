"""Units: the one that a study's band is in, for every sentence, table and axis."""

from klsearch.studies.record import StudyRecord


def kl_unit(study: StudyRecord) -> str:
    """The unit that the band is in."""
    return study.definition.thresholds().kl_unit


def kl_factor(study: StudyRecord) -> float:
    """The factor that takes a KL that is a mean over latents to the band's unit: 1, or d for the sum."""
    return study.definition.thresholds().banded_kl(1.0, study.definition.model.latent_dim)
