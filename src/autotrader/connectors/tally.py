"""What connectors count for whoever exports it: plain numbers, of this process."""

from __future__ import annotations

from collections import Counter

# By venue: connections of a stream that were made in place of one that broke.
reconnects: Counter[str] = Counter()
