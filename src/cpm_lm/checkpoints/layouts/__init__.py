"""Layouts: how each program names, transposes, splits and stores the tensors of a GPT.

Knows the table of tensors and the containers; does not know engines.
"""
