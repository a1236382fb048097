"""The whole life of a model on Apache Airflow."""

__version__ = "0.1.0"
