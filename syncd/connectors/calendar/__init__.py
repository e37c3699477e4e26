"""Meetings with customers that were held."""
