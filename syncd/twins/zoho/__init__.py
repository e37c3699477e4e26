"""A stand-in for Zoho CRM."""
