"""The web server's side of a request, before the app has it: received whole, in turns, refused where it is no HTTP."""
