"""Alembic's environment and revisions; `syncd.store.revisions` runs them when one is due."""
