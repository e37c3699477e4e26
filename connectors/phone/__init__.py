"""Phone lines."""
