"""Layouts: how the tensors of a GPT lie in the files of one program."""
