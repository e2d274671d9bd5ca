"""The domain: what is tracked, when to look, when it has ended, who is told. Free of Flask, RQ and HTTP."""
