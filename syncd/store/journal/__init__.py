"""The hot write path: what comes in is committed in groups by one writer."""
