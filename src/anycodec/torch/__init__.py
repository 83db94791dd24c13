"""The torch engine."""

import os

# Spinning OpenMP threads on shared cores made training 8 times slower (2 cores, one other busy
# process); libgomp reads this when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
