"""Load balancers, one file each."""
