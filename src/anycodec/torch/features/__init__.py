"""Pretrained networks that look at pictures: their features measure, and are never trained."""
