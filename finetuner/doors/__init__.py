"""Doors: how the files of users become packs, and how match data leaves in files that anybody can read.

:func:`open_door` reads judgements, triplets, class labels and match Documents from CSV, TSV, JSON Lines and Parquet,
:func:`read_qrels` collections of TREC. What is wrong with a row refuses the row; what is wrong with a file ends it.
"""

from finetuner.doors.door import Door, open_door
from finetuner.doors.qrels import read_qrels
from finetuner.doors.roles import Roles

__all__ = ["Door", "Roles", "open_door", "read_qrels"]
