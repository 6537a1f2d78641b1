"""From ``conf.yaml`` to frozen models, with every problem named by line and column. Called by the command line."""
