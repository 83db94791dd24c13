"""Specs of the samplers, which turn noise into latents, one file a kind."""
