"""The planted defects: one module per part of the product, each a list of `mutant(...)` and `@patch(...)`."""
