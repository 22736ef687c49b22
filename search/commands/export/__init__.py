"""The winner to take away: models, and the settings in the user's own form."""
