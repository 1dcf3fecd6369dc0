"""The Lambda Runtime API as AWS documents it, so that AWS's own runtime clients run as workers."""
