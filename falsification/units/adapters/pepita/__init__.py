"""The container adapter, without a runtime."""
