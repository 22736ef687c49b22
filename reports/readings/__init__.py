"""Readings off a study's records, shared by the sections of the report: numbers with their units."""
