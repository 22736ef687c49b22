"""The settings found, as a Python file for a model and a training of the user's own."""

import math
import re
from collections.abc import Mapping
from inspect import signature
from pathlib import Path

import keras
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.data.readers.raw import Column
from klsearch.vae.host.own_code import is_function
from klsearch.vae.hyperparameters import NAMES, RULES, Hyperparameters
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.networks.own.as_code import OwnCode
from klsearch.vae.training.optimizer import OPTIMIZERS
from klsearch.vae.training.schedules import ADAM, FALLS

# What classes call the settings that they take, the likeliest first.
_ARGUMENTS: Mapping[str, str] = {
    "kl_weight": r"kl_weight|beta|kl_beta|kld_weight|kl_coeff\w*",
    "annealing_epochs": r"(kl_)?(anneal\w*|warm_?up)_epochs|epochs_(of_)?(annealing|warm_?up)|kl_(annealing|warm_?up)",
    "clip_low": r"clip_(low|min)|(z_)?log_?var_min|min_log_?var",
    "clip_high": r"clip_(high|max)|(z_)?log_?var_max|max_log_?var",
    "l2": r"l2(_\w+)?|\w+_l2",
    "encoder_dropout": r"(encoder_)?drop(out)?(_rate|_prob)?",
    "free_bits": r"free_bits|free_nats",
    "learning_rate": r"learning_rate|lr",
}


def settings_snippet(
    definition: StudyDefinition,
    settings: Hyperparameters,
    *,
    trial: int,
    expected: str,
    shape: tuple[int, ...],
    table: tuple[Column, ...] | None = None,
    condition_width: int = 0,
    masks: bool = False,
    own: OwnCode | None = None,
) -> str:
    """The text of `vae_settings.py`.

    Args:
        definition: of the study, for its name, the loss's reductions and the length of the training.
        settings: to be written in full precision.
        trial: number of the one that they come from.
        expected: what a training with them is to reach, as a sentence.
        shape: of a row.
        table: the columns that its places stand for; None where rows are no table's.
        condition_width: how many numbers are told of each row.
        masks: whether values are missing, for which scaler.json has a filling.
        own: the user's models, which the file makes; None where they are ours, or cannot be told.
    """
    model, training = definition.model, definition.training
    likelihood = definition.objective().likelihood.for_rows(shape, table)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    ).get_template("vae_settings.py.j2")
    return template.render(
        **({} if own is None else _of_own(definition, own)),
        origin=f"trial {trial} of study '{definition.study.name}'",  # no name holds " or \\
        expected=expected,
        settings={name: _number(getattr(settings, name)) for name in NAMES}
        | {"clipnorm": _number(settings.clipnorm) if math.isfinite(settings.clipnorm) else None},
        rules=RULES,
        own=model.is_own,
        code=own,
        latent_dim=model.latent_dim,
        epochs=training.epochs,
        batch_size=training.batch_size,
        likelihood=likelihood,
        counted=_counted(likelihood),
        masks=masks,
        conditional=condition_width,
        kl_reduction=definition.study.kl_reduction,
        schedule=definition.schedule(settings),
        optimizer=OPTIMIZERS[training.optimizer].keras,
        falls=training.learning_rate_schedule != ADAM.schedule,
        fall=FALLS[training.learning_rate_schedule].keras,
        reconstruction_reduction=model.reconstruction_reduction,
    )


def _counted(likelihood: Likelihood) -> list[int]:
    """The columns of a table that are counts; none where all values are, or none is."""
    places = likelihood.log_input
    return [] if isinstance(places, bool) else [at for at, is_count in enumerate(places) if is_count]


def _of_own(definition: StudyDefinition, own: OwnCode) -> dict[str, object]:
    """What the template says of a model of the user's own."""
    kind, made_by = definition.model.kind, own.origin.made_by
    module, name = "", f"keras.models.load_model({kind!r}, compile=False)"
    if is_function(kind):
        place, _, named = kind.rpartition(":")
        module = Path(place).stem if place.endswith(".py") else place
        name = f"{module}.{named}"
    plain = not definition.objective().likelihood.column_parts
    held = (own.origin.encoder, own.origin.decoder) == (".encoder", ".decoder")
    taken = {} if made_by is None else _arguments(made_by)
    return {
        "module": module,
        "name": name,
        "arguments": own.origin.call[1:-1].replace("{module}", module),
        "mine": made_by is not None and issubclass(made_by, keras.Model) and held and plain,
        "own_arguments": ", ".join(f"{argument}={setting.upper()}" for setting, argument in taken.items()),
        "not_taken": [setting.upper() for setting in _ARGUMENTS if setting not in taken],
    }


def _arguments(made_by: type) -> dict[str, str]:
    """The arguments of a class that are settings, by the setting; none where it takes no KL weight."""
    taken = {}
    for setting, pattern in _ARGUMENTS.items():
        found = [name for name in signature(made_by).parameters if re.fullmatch(pattern, name)]
        if found:
            taken[setting] = found[0]
    return taken if "kl_weight" in taken else {}


def _number(value: float) -> str:
    """The number as Python reads it back."""
    return repr(value) if math.isfinite(value) else f'float("{value}")'
