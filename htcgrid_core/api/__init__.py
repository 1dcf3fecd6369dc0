"""The grid as a service: a REST API over the gateway, with principals, scopes and tenants."""
