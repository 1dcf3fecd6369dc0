"""The grid's page in Airflow's UI: sessions, how far they are, and what failed."""
