"""The steps of each DAG, over ports. A DAG wires them; the command line and tests call the same."""
