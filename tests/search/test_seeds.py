"""Every seed of a study comes from its one seed."""

from klsearch.search.seeds import confirmation_seed, race_seeds, reference_seed, sampler_seed, shared_seed, trial_seed

USES = (sampler_seed, trial_seed, confirmation_seed, reference_seed)


def test_no_two_uses_and_no_two_trials_share_a_seed() -> None:
    seeds = [use(0, index) for use in USES for index in range(1000)]
    assert len(set(seeds)) == len(seeds)


def test_seeds_of_another_study_differ() -> None:
    for use in USES:
        assert {use(0, index) for index in range(100)}.isdisjoint(use(1, index) for index in range(100))


def test_a_seed_depends_on_nothing_but_study_use_and_index() -> None:
    assert [use(7, 3) for use in USES] == [use(7, 3) for use in USES]


def test_seeds_are_whole_numbers_that_fit_31_bits() -> None:
    assert all(0 <= use(study, index) < 2**31 for use in USES for study in (0, 2**32 - 1) for index in (0, 10**6))


def test_the_seed_that_trials_share_is_none_of_a_proof_or_a_race() -> None:
    others = {confirmation_seed(0, index) for index in range(1000)}
    assert others.isdisjoint({shared_seed(0), *race_seeds(0)})
    assert shared_seed(0) not in race_seeds(0)
    assert len(set(race_seeds(0))) == 3
    assert shared_seed(0) != shared_seed(1)
