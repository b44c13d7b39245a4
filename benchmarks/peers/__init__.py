"""The implementations of `benchmarks/decode.py`: one file a library, all with one interface."""
