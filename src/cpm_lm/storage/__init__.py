"""Create, lock, replace and remove files and directories, without following a link at a name.

Knows names, descriptors and locks; does not know what is written. All code of this package that
makes a temporary name, renames, or removes is here: in a directory that others can write, a name
that can be guessed may already be a link or a directory of somebody else.
"""
