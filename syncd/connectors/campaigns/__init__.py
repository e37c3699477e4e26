"""Campaigns: mails to many, by the services that send them."""
