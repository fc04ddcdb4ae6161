"""Models: one class for each way of loading one."""
