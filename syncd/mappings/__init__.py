"""The mappings that come with syncd; `mapping:` finds them by name when none lies beside the configuration."""
