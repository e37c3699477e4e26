"""The one YAML file: its models, reading it, its schema. Import the submodules: this package imports nothing."""
