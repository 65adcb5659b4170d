"""Airflow: stages become tasks; the embedded platform is started and watched."""
