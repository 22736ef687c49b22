"""What a study is and what it leaves: definitions, records and what follows from them."""
