"""Experiments on a user's own Keras VAE and its `train_step`, which find settings that have no effect."""
