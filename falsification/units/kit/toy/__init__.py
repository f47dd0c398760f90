"""A toy suite: a product, claims, attempts and saboteurs in which every verdict occurs."""
