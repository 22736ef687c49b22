"""What a study may claim of its winner, why, at what price, and what to do next."""
