"""The falsification suite: 110 claims, the attempts to prove them wrong, and the planted defects that prove the attempts can."""
