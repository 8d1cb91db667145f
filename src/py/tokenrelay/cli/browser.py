"""Opening the user's browser."""

from __future__ import annotations

import os
import threading
import webbrowser


def open_browser(url: str) -> bool:
    """Whether a browser was asked to open ``url``; returns at once."""
    # Without a display only a text browser would start, and take this terminal.
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        return False
    try:
        controller = webbrowser.get()
    except webbrowser.Error:
        return False
    # Some controllers wait until the browser ends.
    threading.Thread(target=controller.open, args=(url,), daemon=True).start()
    return True
