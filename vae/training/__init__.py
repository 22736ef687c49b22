"""The engine: K members trained together by one compiled program."""
