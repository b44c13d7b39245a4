"""Facts about published models: digests, numbers of heads, and errors in their files.

Knows published models; does not know file formats.
"""
