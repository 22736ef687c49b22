"""Optuna studies over populations of autoencoders: searching, confirming, and the command line."""
