"""Files with rows of people or companies: CSV, spreadsheets, JSON lines."""
