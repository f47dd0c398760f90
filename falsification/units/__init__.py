"""Fast tests of the library and of the kit; no privileges, no sleeping."""
