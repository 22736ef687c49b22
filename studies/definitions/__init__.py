"""The definition of a study: the checked content of its TOML file, the data it names, and what follows from it."""
