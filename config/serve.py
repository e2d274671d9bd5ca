"""`python -m config.serve`: starts gunicorn with its settings file, as the Procfile says."""

import os
import sys

SETTINGS_FILE = "config/gunicorn.conf.py"


def main() -> None:
    """Run gunicorn until it is told to stop.

    gunicorn's import parses WEB_CONCURRENCY, and would end with a traceback if it is no number. So it is hidden until
    the settings file reads it, which reports it together with all other wrong settings.
    """
    hidden = os.environ.pop("WEB_CONCURRENCY", "")
    from gunicorn.app.wsgiapp import run  # noqa: PLC0415 - see above

    os.environ["WEB_CONCURRENCY"] = hidden
    sys.argv[1:] = ["--config", SETTINGS_FILE, "app:create_app()"]
    run()


if __name__ == "__main__":
    main()
