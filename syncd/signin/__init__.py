"""Interactive sign-in: an operator grants syncd access to a vendor account in a browser."""
