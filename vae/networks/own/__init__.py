"""A user's own Keras VAE as it is: which models it holds, where they end, and what would fail without a word."""
