"""Airflow assets, by which one DAG triggers another."""

from airflow.sdk import Asset

RAW_DATA = Asset(uri="augrec://data/raw", name="raw_data")
"""Updated by `ingest` when the tables changed; `retrain` is scheduled by it."""
