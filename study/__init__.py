"""What point-in-time features are worth: a plain scorecard on real data, beside one that leaks. `make study DATA=DIR`."""
