"""ublk, as far as it goes without its driver."""
