"""How an index that an old model version has built stays of use to queries of a new one."""

from finetuner.compatibility.fitting import Figures, Fitted, fit_map
from finetuner.compatibility.kept import Spaces, read_spaces
from finetuner.compatibility.maps import KINDS, Kind, Layers, Map
from finetuner.compatibility.order import reembed_order
from finetuner.compatibility.promotion import fit_maps, same_documents
from finetuner.compatibility.recalls import Recalls, Relevant, Route, recalls
from finetuner.compatibility.stamped import Stamped

__all__ = [
    "KINDS",
    "Figures",
    "Fitted",
    "Kind",
    "Layers",
    "Map",
    "Recalls",
    "Relevant",
    "Route",
    "Spaces",
    "Stamped",
    "fit_map",
    "fit_maps",
    "read_spaces",
    "recalls",
    "reembed_order",
    "same_documents",
]
