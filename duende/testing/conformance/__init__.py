"""One set of tests for every adapter, ours or a stranger's: subclass, say how an adapter is made, and let pytest collect it.

```python
class TestMine(AdapterConformance):
    async def make_adapter(self, *, keep=False):
        return MyAdapter(keep=keep)
```

What an adapter cannot do is data (`Capabilities`), and each test looks at both sides of it: what is promised works, what is not promised
says so. `capability_table` prints the differences.
"""

from __future__ import annotations

from duende.testing.conformance.base import ConformanceBase, Events, NonconformanceError, check
from duende.testing.conformance.ending import EndingTests
from duende.testing.conformance.identity import IdentityTests
from duende.testing.conformance.lifecycle import LifecycleTests
from duende.testing.conformance.managed import ManagedTests
from duende.testing.conformance.table import capability_table

__all__ = [
    "AdapterConformance",
    "ConformanceBase",
    "Events",
    "NonconformanceError",
    "capability_table",
    "check",
]


class AdapterConformance(LifecycleTests, EndingTests, IdentityTests, ManagedTests):
    """All of them. See `ConformanceBase` for what a subclass may say."""
