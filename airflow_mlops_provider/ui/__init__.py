"""The pages in Airflow's UI: models, one pipeline, and the reports of a task.

They only read. What they let people do, retrain and roll back, the page asks of Airflow's own REST API, with the
session of whoever looks at it.
"""
