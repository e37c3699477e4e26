"""Source -> store: verify, parse, decide what is let in, commit. Webhooks, polls, fetches of hints, and backfills."""
