"""Topics of Kafka: read as streams, and written to in transactions."""
