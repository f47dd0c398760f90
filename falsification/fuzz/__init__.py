"""Coverage-guided fuzzing of the parsers that read what others wrote, by atheris: `nox -s fuzz -- SECONDS`."""
