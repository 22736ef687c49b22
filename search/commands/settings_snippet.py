"""A trial's settings as a short Python file in plain Keras."""

import math
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.hyperparameters import Hyperparameters

_HERE = Path(__file__).parent


def settings_snippet(definition: StudyDefinition, settings: Hyperparameters, *, trial: int, expected: str) -> str:
    """The text of `vae_settings.py`.

    Args:
        definition: of the study, for its name, the loss's reductions and the length of the training.
        settings: to be written in full precision.
        trial: number of the one that they come from.
        expected: what a training with them is to reach, as a sentence.
    """
    model, training = definition.model, definition.training
    bernoulli = model.likelihood == "bernoulli"
    template = Environment(
        loader=FileSystemLoader(_HERE), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    ).get_template("vae_settings.py.j2")
    return template.render(
        origin=f"trial {trial} of study '{definition.study.name}'",  # no name holds " or \\
        expected=expected,
        settings={name: _number(value) for name, value in asdict(settings).items()}
        | {"clipnorm": _number(settings.clipnorm) if math.isfinite(settings.clipnorm) else None},
        latent_dim=model.latent_dim,
        epochs=training.epochs,
        batch_size=training.batch_size,
        bernoulli=bernoulli,
        error="Cross-entropy in nats" if bernoulli else "Squared error",
        decoder_output="gives logits" if bernoulli else "gives the reconstruction itself",
        kl_reduction=definition.study.kl_reduction,
        reconstruction_reduction=model.reconstruction_reduction,
    )


def _number(value: float) -> str:
    """The number as Python reads it back."""
    return repr(value) if math.isfinite(value) else f'float("{value}")'
