"""Which pore a run used, from the codes of its flow cell and kit.

Codes as Oxford Nanopore's documentation lists them (flow cells FLO-..., kits SQK-...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from anycodec.engine import BasecallerName
from anycodec.io.pod5_molecule import molecule_of
from anycodec.types import Meta

R941, R103, R104, R1041, RNA = "R9.4.1", "R10.3", "R10.4", "R10.4.1", "RNA"

PORE_OF_CALLER: Mapping[BasecallerName, str] = MappingProxyType({"bonito-r941": R941})
"""The pore that a network was trained on."""

_CHEMISTRY = {"114": R1041, "112": R104, "111": R103, "106": R941, "107": R941, "001": R941, "002": R941}
"""Last digits of a flow cell: FLO-MIN106, FLO-PRO114M, FLO-FLG001 ..."""
_KITS = {"114": R1041, "112": R104, "110": R941, "109": R941, "108": R941}
"""Last digits of a kit of DNA: SQK-LSK109, SQK-ULK114 ..."""
_FAST = 5000.0
"""Hz; only R10.4.1 is sampled like this."""


def pore_of(run_info: Meta) -> str | None:
    """The pore of a run, None where its record does not tell."""
    kit = str(run_info.get("sequencing_kit") or "").lower()
    flow_cell = str(run_info.get("flow_cell_product_code") or "").upper()
    if molecule_of(run_info) == "rna":
        return RNA
    cell = re.fullmatch(r"FLO-[A-Z]+(\d{3})[A-Z]*", flow_cell)
    if cell and cell[1] in _CHEMISTRY:
        return _CHEMISTRY[cell[1]]
    digits = re.search(r"(\d{3})(?:[.-].*)?$", kit)
    if digits and digits[1] in _KITS:
        return _KITS[digits[1]]
    return R1041 if run_info.get("sample_rate") == _FAST else None
