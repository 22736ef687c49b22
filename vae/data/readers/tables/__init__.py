"""Tables: files of text and .parquet files, and data frames that the user's own function gives."""
