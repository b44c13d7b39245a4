"""What a model makes of texts: how close two are, how likely they find a text.

Knows engines, tokenizers and numbers; does not know how weights are stored.
"""
