"""The version of this software, which every answer carries."""

SOFTWARE_VERSION = "0.1.0"                      # that of pyproject.toml
