"""HTC-Grid for Airflow: one task of a DAG hands a vector of events to a grid as a session, and waits for it."""
