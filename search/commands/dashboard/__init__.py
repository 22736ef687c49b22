"""Optuna's dashboard on a study, and who may see it."""
