"""Runtime policy, quality and Jidoka gates."""
