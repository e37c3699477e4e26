"""A stand-in for Salesforce."""
