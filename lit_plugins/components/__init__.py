"""What LIT registers, built from the models, tasks and methods."""
