"""The routes, a noun a file; docs/rest.md lists them, and docs/service.md says what no signature tells."""
