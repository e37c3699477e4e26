"""Looking at the vendors: `check --online` (run, parts, stores, reach) and `prepare`. The commands call; nothing here prints."""
