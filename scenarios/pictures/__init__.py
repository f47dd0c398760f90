"""What a history looks like, for people."""
