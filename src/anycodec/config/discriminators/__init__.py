"""Specs of the discriminators, a file each."""
