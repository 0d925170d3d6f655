"""What encoders are worth on match data: a report for people and for programs, that needs no network.

>>> from finetuner.reports import report
>>> found = report({"base": base, "tuned": result.encoder}, holdout)
>>> found.save("report")
"""

from finetuner.reports.making import report
from finetuner.reports.report import Report
from finetuner.reports.runs import of_run, saved

__all__ = ["Report", "of_run", "report", "saved"]
