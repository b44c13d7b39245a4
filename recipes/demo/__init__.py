"""The recipe of the model in the package: text, tokenizer, training, table."""
