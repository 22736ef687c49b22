"""Real trainings of what was simulated."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tensorflow as tf

from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.plain_keras import plain_models
from klsearch.vae.hyperparameters import Hyperparameters
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.likelihoods.mixed import Mixed
from klsearch.vae.networks.network import Network, dense_network, with_learned_columns
from klsearch.vae.objective import Objective
from klsearch.vae.training.population import Population

Splits = dict[str, np.ndarray]
LATENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A member of a population after its training.

    Attributes:
        measures: of validation.
        parts: what the decoder gives for validation rows at their posterior means, each [n, D].
        mean: the reconstructions, [n, D].
    """

    measures: Measures
    parts: dict[str, np.ndarray]
    mean: np.ndarray

    @property
    def active(self) -> int:
        """How many latents carry more than a tenth of a nat."""
        return int(np.sum(self.measures.kl_per_latent > 0.1))


Populate = Callable[[Likelihood, Splits, int], tuple[Network, Population]]
Fit = Callable[[Likelihood, Splits, int], Fitted]


@pytest.fixture(scope="session")
def populate() -> Populate:
    """A function that gives a network for tables under a likelihood, and slots to train it in for the ELBO."""

    def make(likelihood: Likelihood, splits: Splits, slots: int) -> tuple[Network, Population]:
        shape, outputs = splits["train"].shape[1:], len(likelihood.parts)
        built = dense_network(shape, LATENTS, hidden=[64], outputs=outputs, log_input=likelihood.log_input)
        table = likelihood.table if isinstance(likelihood, Mixed) else None
        network = replace(with_learned_columns(built, likelihood.column_parts), table=table)
        objective = Objective(likelihood=likelihood, kl_reduction="sum")
        return network, Population(network, splits, objective, slots=slots, batch_size=100)

    return make


@pytest.fixture(scope="session")
def fit(populate: Populate, train: Callable[[Population, int], None]) -> Fit:
    """A function that trains for some epochs and tells what came of it."""

    def run(likelihood: Likelihood, splits: Splits, epochs: int) -> Fitted:
        network, population = populate(likelihood, splits, 2)
        likelihood = likelihood.for_rows(network.input_shape, network.table)
        for slot in range(2):
            population.start(slot, Hyperparameters(kl_weight=1.0, learning_rate=3e-3, annealing_epochs=20), seed=slot)
        train(population, epochs)
        models, rows = plain_models(network, population.member(0)), splits["validation"]
        output = tf.constant(np.asarray(models.decoder(models.encoder(rows)[0])).reshape(len(rows), -1))
        parts = zip(likelihood.all_parts, likelihood.split(output), strict=True)
        return Fitted(
            measures=population.measure([0], "validation")[0],
            parts={name: values.numpy() for name, values in parts},
            mean=likelihood.mean(output, tf.constant(rows)).numpy(),
        )

    return run
