"""Salesforce as a destination: everything is upserted by external id, a thousand records a call.

Found through the entry point `destination.salesforce`; exports its declaration, CONNECTOR.
"""

from syncd.connectors.accounts.salesforce import SalesforceAuth
from syncd.connectors.crm.salesforce.destination import CONNECTOR, Salesforce
from syncd.connectors.crm.salesforce.settings import SalesforceSettings

__all__ = ["CONNECTOR", "Salesforce", "SalesforceAuth", "SalesforceSettings"]
