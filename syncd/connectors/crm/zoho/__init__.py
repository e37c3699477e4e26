"""Zoho CRM as a destination: people are upserted, activities inserted under a unique key, a hundred records a call.

Found through the entry point `destination.zoho`; exports its declaration, CONNECTOR.
"""

from syncd.connectors.crm.zoho.destination import CONNECTOR, Zoho
from syncd.connectors.crm.zoho.settings import ZohoSettings

__all__ = ["CONNECTOR", "Zoho", "ZohoSettings"]
