"""Airflow: stages as tasks, and the processes of the embedded platform."""
