"""The proof on fresh seeds."""
