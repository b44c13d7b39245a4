"""The Keras model. Import its modules, not this package: Keras is heavy and may be absent."""
