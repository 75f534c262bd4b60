"""The engine's own periodic jobs: each removes what nobody needs any more."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

from django.conf import settings

from tasks_app.domain.periodic import Run
from tasks_app.periodic_jobs import periodic
from tasks_app.services import retention, tokens, usage

EXPIRED_TOKENS_KEPT = timedelta(
    days=30
)  # so that somebody can still see why a token stopped working
USAGE_KEPT = timedelta(days=400)  # a year's figures can be compared with the last one's


@periodic(every=5, lock="prune", lock_timeout=15)
async def prune_tasks(run: Run) -> None:
    """Remove finished tasks whose retention has passed."""
    await retention.prune(run.check)


@periodic(every=3600, lock="forget-periodic-jobs", lock_timeout=15)
async def forget_periodic_jobs(run: Run) -> None:
    """Remove the figures of periodic jobs that are not in the code any more."""
    await run.check()
    await retention.forget_periodic_jobs()


@periodic(cron="17 3 * * *", lock="expired-tokens")
def delete_expired_tokens(run: Run) -> None:
    """Delete API tokens that expired long ago."""
    run.check_sync()
    tokens.delete_expired(run.due - EXPIRED_TOKENS_KEPT)


@periodic(cron="47 3 * * *", lock="expired-sessions")
def clear_sessions(run: Run) -> None:
    """Do as Django's `clearsessions`; engines whose sessions expire by themselves have nothing."""
    run.check_sync()
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()


@periodic(cron="27 3 * * *", lock="old-usage")
def delete_old_usage(run: Run) -> None:
    """Delete the sums of model usage that are older than a year and a bit."""
    run.check_sync()
    usage.delete_before((run.due - USAGE_KEPT).date())
