"""The engines that run the Keras model, on TensorFlow or JAX."""
