"""The variational autoencoder and its training: many members in one compiled program.

This room knows nothing of Optuna, of studies on disk, or of HTML. `hyperparameters`, `curves`, `measures`,
`diagnostics` and `datasets` stay importable without TensorFlow, so that reading a study never pays for it.
"""
