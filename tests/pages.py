"""What a test reads out of an interactive page."""

import base64
import gzip
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from gpt.analysis.build import build_findings
from gpt.analysis.collect import Results, collect
from gpt.analysis.findings import Findings
from gpt.report.figures.catalogue import Drawn, draw_all
from gpt.report.pages.html import html_page


@dataclass
class Interactive:
    """A study's interactive page, made without the rest of its report."""

    results: Results
    findings: Findings
    drawn: list[Drawn]
    text: str


def interactive(folder):
    """The page of a study's folder as it is now."""
    results = collect(folder)
    findings = build_findings(results)
    drawn = draw_all(results, findings)
    return Interactive(results, findings, drawn, html_page(results, findings, drawn).decode("utf-8"))


def unpacked(page, name):
    """The bytes that a page carries under a name."""
    (found,) = re.findall(rf'<script type="text/plain" id="packed-{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(found))


def figures_of(page):
    """What its script draws."""
    return json.loads(unpacked(page, "figures"))


class Parsed(HTMLParser):
    """Words outside scripts and styles, tags with their attributes, and the rows of every table by its id."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.tables = [], [], {}
        self._silent, self._table, self._run = False, None, False
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._silent |= tag in ("script", "style")
        if tag == "table":
            self._table = self.tables.setdefault(dict(attributes).get("id"), [])
        if tag == "tr":
            self._table.append([])
        if tag in ("td", "th"):
            self._table[-1].append("")
            self._run = True

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._silent = False
        if tag in ("td", "th"):
            self._run = False

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)
        if self._run:
            self._table[-1][-1] += data
