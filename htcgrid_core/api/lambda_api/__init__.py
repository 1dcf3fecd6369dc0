"""The Lambda API over a grid's deployed functions: what AWS's SDKs call with ``endpoint_url``."""
