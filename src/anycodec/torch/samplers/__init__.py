"""Samplers: pure functions of a generator's predictions, one file a kind.

A process chooses among them by the `type` of a sampler's spec.
"""
