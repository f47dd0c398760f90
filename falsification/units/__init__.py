"""Fast tests of duende: no privileges, no sleeps; the tree mirrors duende/."""
