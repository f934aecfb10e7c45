"""The page as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from hpcretrain.report.page import Page


def render(page: Page) -> str:
    """The HTML of a page. What comes from users is escaped, and a policy in the page forbids scripts and requests."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("hpcretrain.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    sections = [(name, title) for name, title in _SECTIONS if name != "periods" or page.periods]
    return templates.get_template("page.html").render(page=page, sections=sections)


_SECTIONS = (
    ("periods", "By period"),
    ("score", "Signs of decline"),
    ("drift", "Drift"),
    ("cost", "Cost"),
    ("cycles", "Cycles"),
    ("quarantine", "Bad data"),
    ("sensitivity", "Other thresholds"),
)
