"""How far a row is from what the decoder gives for it: a file for each distribution."""
