"""Whole pages, in their parts."""
