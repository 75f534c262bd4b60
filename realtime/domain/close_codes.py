"""The codes that a socket is closed with; 44xx is final for a client, any other means reconnect."""

from __future__ import annotations

from typing import Final

# Not signed in, or the token, session or user was revoked later.
NOT_SIGNED_IN: Final = 4401
# The right to be here was taken away.
FORBIDDEN: Final = 4403
# There is nothing at this address.
NOT_FOUND: Final = 4404
# No `user-join` came within the time for it.
SIGN_IN_TIMEOUT: Final = 4408
# The document's state would be larger than DOCUMENT_MAX_BYTES.
DOCUMENT_TOO_LARGE: Final = 4413
# Went on sending after being told `rate_limited`.
TOO_MANY_MESSAGES: Final = 4429
# A frame is none of the protocol.
MALFORMED: Final = 1003
# A frame was larger than the limit.
TOO_LARGE: Final = 1009
# Something here failed that should not have.
INTERNAL_ERROR: Final = 1011
# This process is shutting down, another takes the socket; or the user's password or groups have
# changed, and whoever may comes back.
RESTARTING: Final = 1012
# The client reads too slowly, or this process cannot take the socket now.
TRY_LATER: Final = 1013
