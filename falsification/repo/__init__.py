"""The repository under test: what the other tests cannot see because it holds between files."""
