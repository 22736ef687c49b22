"""Everything that faces a person: the progress of what runs, the time that is left, and how results are printed."""
