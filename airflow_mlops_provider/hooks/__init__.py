"""Airflow connections and settings to clients."""
