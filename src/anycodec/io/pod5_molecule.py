"""What went through the pores of a run: DNA or RNA."""

from __future__ import annotations

from typing import Literal

from anycodec.types import Meta

Molecule = Literal["dna", "rna"]


def molecule_of(run_info: Meta) -> Molecule | None:
    """DNA or direct RNA, None where the record does not tell.

    The experiment type as MinKNOW records it decides (`genomic_dna`, `rna`), then kit (`SQK-RNA004`) and
    flow cell (`FLO-MIN004RA`).
    """
    tags = {str(name).lower(): str(value).lower() for name, value in run_info.get("context_tags", {}).items()}
    experiment = tags.get("experiment_type", "")
    kit = str(run_info.get("sequencing_kit") or tags.get("sequencing_kit") or "").lower()
    flow_cell = str(run_info.get("flow_cell_product_code") or "").lower()
    if "dna" in experiment:
        return "dna"
    if "rna" in experiment or "rna" in kit or flow_cell.endswith("ra"):
        return "rna"
    return "dna" if kit or flow_cell else None
