"""Examples to run and to read: `python -m duende.examples.daemon`."""
