"""A Feature Store on this machine: SageMaker's wire protocol over SQLite, for laptops and tests."""
