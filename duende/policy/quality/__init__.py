"""A gate that reads a daemon's code before it is deployed: complexity, admitted debt, dead code, and a score made of them.

Score = 40 x C + 20 x D + 20 x U + 20 x M, each factor from 0 to 1:

- C, complexity of the most complex function: 1 up to 10, falling evenly to 0 at 30 (10 is McCabe's own limit);
- D, admitted debt (TODO and the like): 1 without, falling evenly to 0 at 10 comments;
- U, dead code: 1 without, falling evenly to 0 at 20 % of the lines;
- M, maintainability index of the worst file (radon's, 0 to 100): 1 from 40 upwards, falling evenly to 0 at 0.

No measure that gets worse can make the score better.
"""

from duende.policy.quality.gate import QualityGate, QualityReport, Violation
from duende.policy.quality.measures import Measures, measure, score_of
from duende.policy.quality.sources import sources_of

__all__ = ["Measures", "QualityGate", "QualityReport", "Violation", "measure", "score_of", "sources_of"]
