"""Records in, HTML out: tables, figures and the self-contained report. Neither TensorFlow nor Optuna."""
