"""Jobs for operators, and what hands them to Airflow and follows them there."""
