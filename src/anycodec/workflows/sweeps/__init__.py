"""Many trainings: what varies, where they run, and what became of them."""
