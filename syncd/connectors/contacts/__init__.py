"""Address books: people and companies whose entries changed."""
