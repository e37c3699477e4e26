"""The running service: assembly, daemon, reload, watchdog, jobs, status."""
