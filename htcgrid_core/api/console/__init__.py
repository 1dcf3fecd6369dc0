"""The console: a page to look at a grid with, and what lets a browser in. Its parts are Airflow's page's, too."""

from pathlib import Path

STATIC = Path(__file__).with_name("static")
SHARED = ("base.css", "dom.js", "parts.js", "tasks.js")  # of its files, those that Airflow's page has as well
