"""The likelihoods that a definition can name."""

from collections.abc import Mapping

from klsearch.vae.likelihoods.bernoulli import BERNOULLI
from klsearch.vae.likelihoods.categorical import CATEGORICAL
from klsearch.vae.likelihoods.counts.negative_binomial import NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.counts.poisson import POISSON
from klsearch.vae.likelihoods.counts.zero_inflated_negative_binomial import ZERO_INFLATED_NEGATIVE_BINOMIAL
from klsearch.vae.likelihoods.gaussian import GAUSSIAN
from klsearch.vae.likelihoods.gaussian_variance import GAUSSIAN_COLUMN_VARIANCE, GAUSSIAN_VARIANCE
from klsearch.vae.likelihoods.likelihood import Likelihood
from klsearch.vae.likelihoods.mixed import MIXED
from klsearch.vae.likelihoods.student_t import STUDENT_T

LIKELIHOODS: Mapping[str, Likelihood] = {
    one.name: one
    for one in (
        *(GAUSSIAN, BERNOULLI, GAUSSIAN_VARIANCE, GAUSSIAN_COLUMN_VARIANCE, STUDENT_T),
        *(POISSON, NEGATIVE_BINOMIAL, ZERO_INFLATED_NEGATIVE_BINOMIAL, CATEGORICAL, MIXED),
    )
}
