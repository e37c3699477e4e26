"""syncd: customer signals from anywhere, onto the right record in the CRM, once."""

__version__ = "0.1.0"
