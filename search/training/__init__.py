"""Keeping the slots of a population full, and trainings that can be repeated."""
