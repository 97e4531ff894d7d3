"""Measures the engine beside what could be picked instead, in CPU seconds. `make bench` runs it; nothing imports it."""
