"""A number made again from its raw rows, the slow way: plain Python over a few rows, sharing no code with the engine."""
