"""The exact runs that made the model and the figures in this package."""
