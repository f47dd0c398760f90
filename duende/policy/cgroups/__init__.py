"""Control groups, version 1, 2 and both side by side: where they are, what limits look like in them, and what they tell.

The kernel's own words: Documentation/admin-guide/cgroup-v2.rst and Documentation/admin-guide/cgroup-v1/.
"""
