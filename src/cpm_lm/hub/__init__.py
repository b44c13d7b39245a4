"""Download a published model by name, convert it and verify it.

Knows the Hugging Face hub; does not know what is in the files.
"""
