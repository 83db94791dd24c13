"""What discriminator and codec minimise."""
