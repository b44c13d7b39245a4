"""Files of weights: what others wrote is read, checked and joined; our own store is written.

Knows files and numpy; does not know any framework, text or engines.
"""
