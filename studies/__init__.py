"""Studies: their definitions, their records and what follows from them."""
