"""The seeded generator of synthetic ledgers. It knows conf, numpy and pyarrow only, and no real person."""
