"""What to try, and what it came to."""
