"""A self-contained page of HTML that shows results: text, tables, plots and pictures."""

from flowtrack.report.page import Report
from flowtrack.report.plot import Curve

__all__ = ["Curve", "Report"]
