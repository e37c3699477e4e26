"""Bitrix24 as a destination: fifty commands a request; people by `findbycomm`, records found again by a key that syncd writes.

Found through the entry point `destination.bitrix24`; exports its declaration, CONNECTOR.
"""

from syncd.connectors.crm.bitrix24.destination import CONNECTOR, Bitrix24
from syncd.connectors.crm.bitrix24.settings import Bitrix24Settings

__all__ = ["CONNECTOR", "Bitrix24", "Bitrix24Settings"]
