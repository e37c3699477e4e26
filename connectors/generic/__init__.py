"""Anything that can POST."""
