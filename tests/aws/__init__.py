"""Tests of the AWS adapters, against emulators over HTTP."""
