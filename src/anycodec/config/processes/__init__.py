"""Specs of the processes: how latents are noised and what a generator regresses, one file a kind."""
