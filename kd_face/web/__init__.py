"""Web server of the face application: REST API and pages, by FastAPI."""
