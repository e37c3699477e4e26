"""Sources for social networks and for messengers of Meta's platform."""
