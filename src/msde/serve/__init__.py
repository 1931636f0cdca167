"""The service: a page and a REST interface over models, with a durable queue and the readers' verdicts."""
