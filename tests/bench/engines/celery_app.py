"""The Celery application that both the client and the worker load."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tests.bench import handlers

REDIS_URL_VARIABLE = "BENCH_REDIS_URL"

celery: Any = importlib.import_module("celery")
app = celery.Celery("bench", broker=os.environ[REDIS_URL_VARIABLE], backend=os.environ[REDIS_URL_VARIABLE])
app.conf.broker_connection_retry_on_startup = True
for handler in (handlers.echo, handlers.sleep, handlers.spin):
    app.task(handler, name=handler.__name__)
