"""The routes, a noun a file; docs/service.md specifies them."""
