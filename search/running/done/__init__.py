"""What stands at the end of a run: its files, and that nothing is left to do."""
