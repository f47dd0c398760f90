"""Calls into the kernel, one thin function each; constants are named as in the kernel's headers."""
