"""The engine for CPUs, over the kernels compiled from `native/`."""
