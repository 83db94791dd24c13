"""From signals to batches: windows, normalizers, splits, the loader."""
