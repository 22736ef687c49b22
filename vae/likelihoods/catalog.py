"""The likelihoods that a definition can name."""

from collections.abc import Mapping

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.likelihood import Likelihood

LIKELIHOODS: Mapping[str, Likelihood] = {one.name: one for one in (GAUSSIAN, BERNOULLI)}
