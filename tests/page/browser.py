"""Shows a page to a headless Chromium, looks at it as a reader would, and keeps pictures.

    python3 browser.py CHROMIUM PAGE FOLDER

Needs nothing but Python's own library: Chromium takes DevTools commands as JSON over a pipe. Ends with code 1 and says why if the page
complains in the console, asks for anything on the network, does not sort, or is wider than a phone.
"""

import base64
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

# Width, height, and whether it is a phone.
SCREENS = {"desktop": (1280, 900, False), "phone": (390, 844, True)}
PATIENCE = 60


class Browser:
    """Chromium at the other end of a pipe; `events` are what it told without being asked."""

    def __init__(self, chromium, profile):
        here, there = os.pipe(), os.pipe()

        def place():
            # Chromium reads commands from file 3 and answers in file 4; both are moved out of each other's way first.
            ends = os.dup2(here[0], 30), os.dup2(there[1], 31)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=place, close_fds=False)
        self.writes, self.reads = here[1], there[0]
        os.close(here[0])
        os.close(there[1])
        self.rest, self.number, self.session, self.events = b"", 0, None, []

    def message(self, patience):
        """The next message, or none after so many seconds."""
        end = time.monotonic() + patience
        while b"\0" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.reads], [], [], left)[0]:
                return None
            piece = os.read(self.reads, 1 << 16)
            if not piece:
                raise SystemExit("the browser ended")
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        """Sends a command and waits for its answer."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.writes, json.dumps(command).encode() + b"\0")
        while True:
            message = self.message(PATIENCE)
            if message is None:
                raise SystemExit(f"the browser does not answer {method}")
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait(self, method):
        """Waits for an event."""
        end = time.monotonic() + PATIENCE
        while not any(event.get("method") == method for event in self.events):
            message = self.message(max(0, end - time.monotonic()))
            if message is None:
                raise SystemExit(f"{method} does not come")
            self.events.append(message)

    def value(self, script):
        """What a script says in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def key(self, key, code):
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


COLUMN = """(name) => {
  const table = document.querySelector("table[data-sortable]");
  const headings = [...table.tHead.rows[0].cells];
  const at = headings.findIndex((heading) => heading.textContent === name);
  const cell = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
  return { sort: headings[at].getAttribute("aria-sort"), values: [...table.tBodies[0].rows].map(cell) };
}"""

WIDER = """(() => {
  const width = document.documentElement.clientWidth;
  const inside = (element) => element.closest(".scroll, pre, .hidden, .skip");
  const wide = [...document.querySelectorAll("body *")].filter((element) =>
    !inside(element) && element.getClientRects().length > 0 && element.getBoundingClientRect().right > width + 1);
  const names = wide.map((element) => `${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`);
  return { width, content: document.documentElement.scrollWidth, names: names.slice(0, 5) };
})()"""

UNNAMED = """[...document.querySelectorAll("svg")].filter((svg) => !svg.closest("[role=img][aria-label], [aria-hidden=true]")).length
  + [...document.images].filter((image) => !image.alt || image.naturalWidth === 0).length
  + [...document.querySelectorAll("table")].filter((table) => !table.caption).length"""


def check(right, told):
    if not right:
        raise SystemExit(told)


def sorts(browser):
    """Sorts by robust accuracy with the keyboard alone: up, down, and back."""
    column = lambda: browser.value(f"({COLUMN})('robust')")
    before = column()
    check(before["sort"] == "none" and len(before["values"]) > 2, f"the table cannot be sorted: {before}")
    browser.value("[...document.querySelectorAll('th button')].find((button) => button.textContent === 'robust').focus()")
    numbers = sorted(float(value) for value in before["values"])
    check([float(value) for value in before["values"]] != numbers, "the table is sorted from the start: nothing to see")
    for sort, expected in (("ascending", numbers), ("descending", numbers[::-1])):
        browser.key("Enter", 13)
        found = column()
        check(found["sort"] == sort, f"expected {sort}, found {found}")
        check([float(value) for value in found["values"]] == expected, f"not {sort}: {found['values']}")
    browser.key("Enter", 13)
    check(column() == before, "the third press does not bring the order of the experiment back")


def works_without_script(browser, address):
    """The table stands there, without buttons that do nothing."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    load(browser, address)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    count = lambda what: len(browser.call("DOM.querySelectorAll", nodeId=root, selector=what)["nodeIds"])
    check(count("table[data-sortable] tbody tr") > 2 and count("th button") == 0, "the page needs its script")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def load(browser, address):
    browser.events.clear()
    browser.call("Page.navigate", url=address)
    browser.wait("Page.loadEventFired")


def complaints(events):
    """What the console said, what threw, and what was asked for beyond the page itself."""
    for event in events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            yield f"exception: {parameters}"
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            yield f"console: {parameters}"
        if method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            yield f"log: {parameters['entry']['text']}"
        if method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith("data:") and parameters.get("type") != "Document":
                yield f"request: {url}"


def main():
    chromium, page, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                browser.call(f"{domain}.enable")
            address = page.as_uri()
            for screen, (width, height, phone) in SCREENS.items():
                for theme in ("light", "dark"):
                    look(browser, address, folder, f"{screen}-{theme}", (width, height, phone), theme)
            works_without_script(browser, address)
        finally:
            browser.process.kill()
            browser.process.wait()
    print("the page is as it should be")


def look(browser, address, folder, name, size, theme):
    """Loads the page as one kind of reader, with everything unfolded, and judges it."""
    width, height, phone = size
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    load(browser, address)
    sorts(browser)
    told = list(complaints(browser.events))
    check(not told, f"{name}: {told}")
    for unfolded in ("as it opens", "unfolded"):
        found = browser.value(WIDER)
        check(found["content"] <= found["width"] and not found["names"], f"{name}, {unfolded}, is too wide: {found}")
        picture(browser, folder / f"{name}-{unfolded.split()[0]}.png", width)
        browser.value("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    check(browser.value(UNNAMED) == 0, f"{name}: a plot, picture or table has no name")
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in paper.strip("rgb()").split(",")) > 382
    check(light == (theme == "light"), f"{name}: the page is {paper}")


def picture(browser, path, width):
    tall = browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"]
    clip = {"x": 0, "y": 0, "width": width, "height": min(tall, 16000), "scale": 1}
    data = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
    path.write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    main()
