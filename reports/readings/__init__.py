"""What a report reads off a study's records: numbers with their units, shared by its sections."""
