"""What to compute and where: definitions in YAML and the small Python that checks them. No Spark."""
