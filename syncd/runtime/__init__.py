"""The process itself: imports, timers, the clock, crash points for tests."""
