"""What comes out of a run: the verdicts' schema, the gate, its profiles, and the written report."""
