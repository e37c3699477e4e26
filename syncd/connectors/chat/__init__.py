"""Chats that visitors began and nobody answered in time."""
