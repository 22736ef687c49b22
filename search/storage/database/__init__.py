"""What klsearch adds to a database: waiting for it, turns in it, and rows written whole."""
