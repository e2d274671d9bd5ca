"""What the operator decides: settings from the environment, logging, the web server."""
