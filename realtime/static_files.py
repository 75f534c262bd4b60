"""Static files that may be made after the web server has started."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware
from servestatic.utils import run_async_in_thread

from realtime.bundle import STATIC_PREFIX


class LateStaticMiddleware(ServeStaticMiddleware):  # type: ignore[misc] # it has no types
    """Serve the editor's bundle also when its build ended after the start.

    Without DEBUG the files are listed once, at the start. The name of a bundle holds its hash, so
    what has been found stays true.
    """

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        is_late = path.startswith(self.static_prefix + STATIC_PREFIX) and path not in self.files
        if is_late and not self.autorefresh:
            found = await run_async_in_thread(self.find_file, path)
            if found is not None:
                self.files[path] = found
        response: HttpResponseBase = await super().__call__(request)
        return response
