"""Configuration: settings from the environment, logging, Redis, the web server."""
