"""The main engine: networks, losses and training in PyTorch."""
