"""What the training loops of all engines share: no framework is imported here."""
