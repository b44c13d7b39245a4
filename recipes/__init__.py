"""The exact runs that made what this package carries."""
