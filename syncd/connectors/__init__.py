"""The connectors that come with syncd: one folder a channel, one module a vendor. They import syncd, never the reverse."""
