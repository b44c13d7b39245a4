"""The recipe of the small model that ships with the package: text, pieces, training, table."""
