"""Texts that users read, as codes with parameters: why something is as it is (`reasons`)."""
