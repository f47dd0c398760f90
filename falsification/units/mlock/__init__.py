"""Memory locking."""
