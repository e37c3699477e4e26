"""Sources of answers to surveys and forms. The daemon builds them by the registry; none imports another."""
