"""The client of Scalingo's API: signs in, gets operations, and interprets every answer."""
