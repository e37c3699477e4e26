"""Where records go: CRMs and databases."""
