"""The training loop: one generic module that names losses, never models."""
