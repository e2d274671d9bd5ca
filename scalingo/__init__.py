"""The client of Scalingo's API: signing in, getting an operation, and understanding every answer."""
