"""Texts that users read, as codes with parameters: titles of signals (`titles`), why something is as it is (`reasons`)."""
