"""The Keras model. This package imports nothing, because Keras is large and may be absent."""
