"""Encoders and decoders as Keras models, and many copies of one as stacked variables."""
