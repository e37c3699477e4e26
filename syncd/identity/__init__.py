"""Names, email addresses and phone numbers as people write them, normalised. Pure."""
