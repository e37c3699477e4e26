"""Support desks."""
