"""Units of the scenario engine: fast, and pure but for the reaper, which is about real processes."""
