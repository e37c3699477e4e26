"""What a vendor's sign-in demands, for all connectors of that vendor."""
