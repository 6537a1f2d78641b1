"""What knows which endpoint holds how much of a prompt: the contract in ``base.py``, a file for each kind."""
