"""The engine for CPUs, on the C++ kernels in `native/`."""
