"""Measures made by hand."""

import numpy as np

from klsearch.vae.diagnostics.measures import Measures


def measures_that_leave(unexplained: float) -> Measures:
    """Two latents whose KL is 1 and 3 and whose mismatch 0.1 and 0.3 times what is left unexplained."""
    return Measures(
        reconstruction=1.0,
        unexplained=unexplained,
        elbo=-1.0,
        active_units=2,
        clip_share_low=0.0,
        clip_share_high=0.0,
        kl_mean_part=unexplained * np.array([0.25, 1.0]),
        kl_variance_part=unexplained * np.array([0.75, 2.0]),
        prior_mismatch=unexplained * np.array([0.1, 0.3]),
    )
