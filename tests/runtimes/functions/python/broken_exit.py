import os

os._exit(9)


def handler(event, context):
    return event
