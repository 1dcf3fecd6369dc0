"""Pickles that the release before has written: sessions, results and blocks that are stored name where classes were."""
