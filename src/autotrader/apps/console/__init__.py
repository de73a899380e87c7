"""The page "Trading" in Airflow's UI."""
