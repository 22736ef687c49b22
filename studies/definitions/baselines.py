"""The known settings that lie inside a study's search space."""

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.hyperparameters import CHOICES, NAMES, Hyperparameters


def baselines_inside(definition: StudyDefinition) -> list[tuple[str, dict[str, float | str]]]:
    """The baselines that lie inside the search space, by name with their searched values: the first trials."""
    same = definition.same_baselines()
    return [
        (name, {key: getattr(settings, key) for key in definition.space.sampled()})
        for name, settings in definition.baseline_hyperparameters().items()
        # A rule or the plain evidence lower bound is no settings to search around.
        if definition.baseline_method(name) is None and name not in same and not misfits(definition, settings)
    ]


def misfits(definition: StudyDefinition, settings: Hyperparameters) -> list[str]:
    """Names of the hyperparameters by which settings lie outside: of a range, a fixed number, or what may be chosen."""
    # Each compared by itself: together with the space's fixed numbers they may be settings that nothing can have.
    searched, fixed = definition.space.searched(), definition.fixed_settings()
    values = {name: getattr(settings, name) for name in NAMES}
    chosen, choices = {name: getattr(settings, name) for name in CHOICES}, definition.space.choices()
    return [
        *(
            name
            for name, value in values.items()
            if not (searched[name].low <= value <= searched[name].high if name in searched else value == fixed[name])
        ),
        *(name for name, word in chosen.items() if word not in choices.get(name, (None,))),
    ]
