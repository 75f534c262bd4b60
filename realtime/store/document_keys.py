"""Every key and channel of documents: the one place where their names are built.

A document's keys share a hash tag of its own, so that documents spread over a Cluster and one
script finds all it touches: the scripts get the document's name as their only KEY and append to it.

`:head`      hash: `last`, the id of the newest entry there ever was; `trimmed`, up to which id
             entries are in the log no more; `snapshot`, up to which id the snapshot has them
`:log`       stream: accepted updates, each under `u`
`:snapshot`  string: one update, merged of those that were in the log before

All three go when the database has everything: the head expires a little later.
"""

from __future__ import annotations

from tasks_app import conf


def document(document_id: str) -> str:
    """Name a document: its channel, and what its keys begin with."""
    return f"{conf.redis_config().prefix}:document:{{{document_id}}}"


def unsaved() -> str:
    """Name the set of documents that may have something in their logs.

    Written by rooms before they append; the periodic job takes out what has been saved.
    """
    return f"{conf.redis_config().prefix}:documents"
