"""The launchd adapter, as far as no launchd is needed."""
