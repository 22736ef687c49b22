"""The variational autoencoder and its training: many members in one compiled program.

This room knows nothing of Optuna, of studies on disk, or of HTML. Only `layers`, `networks`, `population`, `elbo`,
`schedules` and `evaluation` import TensorFlow; `hyperparameters`, `curves`, `measures`, `diagnostics` and `datasets`
stay importable without it, so that reading a study never pays for it.
"""
