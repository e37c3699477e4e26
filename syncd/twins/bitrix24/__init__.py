"""The Bitrix24 twin: a portal's REST API over real HTTP, written from Bitrix24's documentation and recorded answers."""
