"""The contenders of `benchmarks/decode.py`: one file for each library, all with one interface."""
