"""The choice of trials, and their judgement."""
