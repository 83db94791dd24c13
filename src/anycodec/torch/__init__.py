"""The torch engine."""

import os

# Threads of libgomp, which reads this when torch is first loaded. Those that spin all the time made
# training 8 times slower beside another busy process; those that never do halve it on a virtual
# machine, where waking one takes long. To spin for some 100 us is within 5 % of the best in both.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
