"""What can be done to a system.

Each fault leases its undoing before it acts, and proves that it took effect.
"""
