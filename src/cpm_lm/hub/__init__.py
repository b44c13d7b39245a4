"""Published models by their names: fetched, converted, verified."""
