import os
from pathlib import Path

# before NumPy and torch load: tests run in parallel, one thread each
os.environ.setdefault("OMP_NUM_THREADS", "1")
# before JAX loads: tiny networks are compiled more often than they run
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("NPROC", "1")

import hypothesis
import matplotlib as mpl
import pytest

mpl.use("Agg")

# deadlines measure the machine, not the code; CI draws the same examples every time
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    reason = why_no_gpu() if any(item.get_closest_marker("gpu") for item in items) else None
    for item in items:
        if item.get_closest_marker("realdata") and not REAL_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"{REAL_DATA} is not beside this checkout"))
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def why_no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Recorded files on the developers' machines; see ../shared/data/README.md there."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"{REAL_DATA} is not beside this checkout")
    return REAL_DATA
