"""What is computed and how it is kept: conditions, sizes, the plan, cached stages, estimates, claims."""
