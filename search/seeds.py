"""Every seed of a study, derived from its one seed."""

from enum import IntEnum

import numpy as np

# What differs by less than the noise of so many hardly matters to a user, who waits for the proof.
_RACE_SEEDS = 3


class _Use(IntEnum):
    """The use of a seed; no two uses share one."""

    SAMPLER = 0
    TRIAL = 1
    CONFIRMATION = 2
    REFERENCE = 3
    RACE = 4


def _derive(study_seed: int, use: _Use, index: int) -> int:
    return int(np.random.SeedSequence([study_seed, use, index]).generate_state(1)[0]) & 0x7FFFFFFF


def sampler_seed(study_seed: int, number: int) -> int:
    """Seed of the sampler that suggests a trial: the same on resume, another for every trial."""
    return _derive(study_seed, _Use.SAMPLER, number)


def trial_seed(study_seed: int, number: int) -> int:
    """Seed from which a trial's weights, batch order and noise are drawn, of the first release: each has its own."""
    return _derive(study_seed, _Use.TRIAL, number)


def shared_seed(study_seed: int) -> int:
    """Seed that all trials of a study share, so that they are compared on the same weights, order and noise."""
    return _derive(study_seed, _Use.TRIAL, 0)


def confirmation_seed(study_seed: int, index: int) -> int:
    """The `index`-th fresh seed of the confirmation, shared by all candidates so that they can be paired."""
    return _derive(study_seed, _Use.CONFIRMATION, index)


def race_seeds(study_seed: int) -> tuple[int, ...]:
    """The seeds of the race, which leading trials share and nothing else is trained on."""
    return tuple(_derive(study_seed, _Use.RACE, index) for index in range(_RACE_SEEDS))


def reference_seed(study_seed: int, index: int) -> int:
    """The `index`-th seed of the reference trainings, from which a study may take its band."""
    return _derive(study_seed, _Use.REFERENCE, index)
