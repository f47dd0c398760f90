"""Units of the bench: what needs no supervisor."""
