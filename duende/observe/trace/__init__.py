"""What a running daemon asks of the kernel: which calls, how long they take, which stand out, what patterns they make, and where in the source
they come from.
"""

from __future__ import annotations

from duende.observe.trace.tracer import Tracer as Tracer
from duende.observe.trace.tracer import attach as attach
