"""Alert rules and dashboards, made of the catalogue of metrics; and a Prometheus that shows them at work."""
