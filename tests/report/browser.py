"""A headless Chromium, driven over a pipe with its own protocol: no server, no extra package.

Windows share a process for each kind of graphics, which starts with the first and ends with the
tests; cookies, storage and history are each window's own, as those of two people.
"""

import atexit
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-extensions",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
PLAIN = ("--disable-gpu",)
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL2 in software: the same on every machine, with a GPU or without."""
NO_WEBGL = ("--disable-gpu", "--disable-3d-apis")

CODES, TEXTS = {"Enter": 13, "Tab": 9, "Escape": 27}, {"Enter": "\r"}
"""What the browser's own answers to a key go by: buttons, order of focus, dialogs."""


def find():
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class _Chromium:
    """The process: passes what windows ask, and keeps the events of each meanwhile."""

    def __init__(self, graphics):
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def as_3_and_4():
            first, second = os.dup(to_child), os.dup(from_child)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._folder = tempfile.mkdtemp(prefix="browser-")
        self._process = subprocess.Popen(
            [find(), *FLAGS, *graphics, f"--user-data-dir={self._folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=as_3_and_4,
        )
        os.close(to_child)
        os.close(from_child)
        self._count, self._rest = 0, b""
        self.events = {}
        atexit.register(self._end)

    def __call__(self, method, session=None, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            if (result := answer.get("sessionId")) in self.events:
                self.events[result].append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            data = os.read(self._in, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def runs(self):
        return self._process.poll() is None

    def _end(self):
        self._process.terminate()
        self._process.wait(timeout=20)
        shutil.rmtree(self._folder, ignore_errors=True)


_running = {}


class Browser:
    """A window with one page; keeps what the page logged and asked for."""

    def __init__(self, folder=None, width=1400, height=1000, graphics=PLAIN):
        """`folder` is not used: a window keeps nothing on disk."""
        if graphics not in _running or not _running[graphics].runs():
            _running[graphics] = _Chromium(graphics)
        self._chromium = _running[graphics]
        self._context = self._chromium("Target.createBrowserContext")["browserContextId"]
        opened = {"url": "about:blank", "browserContextId": self._context}
        target = self._chromium("Target.createTarget", **opened)["targetId"]
        attached = self._chromium("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._chromium.events[self._session] = self.events = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self("Emulation.setFocusEmulationEnabled", enabled=True)  # whatever other windows there are
        self.resize(width, height)

    def __call__(self, method, **params):
        return self._chromium(method, session=self._session, **params)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **metrics)

    def open(self, place, query=""):
        """`place` is a file's path or an address."""
        self("Page.navigate", url=(place if isinstance(place, str) else place.as_uri()) + query)
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def js(self, expression):
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not self.js(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def count(self, selector):
        return self.js(f"document.querySelectorAll({json.dumps(selector)}).length")

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).textContent")

    def set(self, selector, value, event):
        self.js(
            f"(node => {{ node.value = {json.dumps(value)};"
            f" node.dispatchEvent(new Event('{event}')); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def box(self, selector):
        measure = "(b => [b.x, b.y, b.width, b.height])"
        found = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        return self.js(f"{measure}({found})")

    def pointer(self, kind, x, y, **params):
        self("Input.dispatchMouseEvent", type=kind, x=x, y=y, **params)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.pointer(kind, x, y, button="left", clickCount=1)

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            said = TEXTS.get(key, key if len(key) == 1 else "")
            text = {"text": said} if kind == "keyDown" and said else {}
            code = {"windowsVirtualKeyCode": CODES[key]} if key in CODES else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, **text, **code)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def complaints(self):
        """Exceptions, console messages, refused policies."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self.events if event.get("method") in kinds]

    def requests(self):
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self):
        del self._chromium.events[self._session]
        self._chromium("Target.disposeBrowserContext", browserContextId=self._context)
