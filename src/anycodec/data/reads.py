"""Which nanopore reads of a data set are trained on, and what is said of those that don't belong together."""

from __future__ import annotations

import math
import warnings
from collections import Counter

from anycodec.config.data import Pod5Source
from anycodec.errors import DataError, Notice
from anycodec.io.pod5_fields import FLOATS, usable_calibration
from anycodec.io.pod5_molecule import Molecule, molecule_of
from anycodec.types import FileInfo, SignalInfo

_FILES_SHOWN = 5
_NAMES = {"dna": "DNA", "rna": "RNA"}


class Reads:
    """Judges the reads of a scan one by one, and the whole of them at its end.

    Args:
        source: its settings.
    """

    def __init__(self, source: Pod5Source) -> None:
        self._source = source
        self._molecules: Counter[str] = Counter()
        self._total = 0
        self._rates: dict[str, Counter[float]] = {}

    def unfit(self, file: FileInfo, info: SignalInfo) -> str | None:
        """Why a read can't be used, None if it can."""
        fields = FLOATS | dict(info.meta)
        self._total += 1
        if not usable_calibration(fields["calibration_offset"], fields["calibration_scale"]):
            return "no usable calibration"
        molecule = _molecule(file, info)
        wanted = self._source.molecule
        if wanted in _NAMES and molecule not in (None, wanted):
            return f"{_NAMES[str(molecule)]}, not data.molecule {wanted}"
        if not self._at_rate(info) and self._source.rates != "resample":
            self._rates.setdefault(file.path, Counter())[info.rate or math.nan] += 1
            return f"sampled at {info.rate:g} Hz, not at data.sample_rate {self._source.sample_rate:g} Hz"
        if molecule is not None:
            self._molecules[molecule] += 1
        return None

    def check(self) -> None:
        """Look at all reads together.

        Raises:
            DataError: reads of another rate than `data.sample_rate`, where `data.rates` is "refuse".
        """
        if self._rates and self._source.rates == "refuse":
            raise self._mixed_rates()
        if self._source.molecule is None and len(self._molecules) > 1:
            counts = " and ".join(f"{self._molecules[name]:,} of {_NAMES[name]}" for name in _NAMES)
            warnings.warn(
                f"the data mixes molecules: {counts}, whose currents differ; choose with data.molecule=dna, "
                "rna or both",
                Notice,
                stacklevel=2,
            )

    def _at_rate(self, info: SignalInfo) -> bool:
        wanted = self._source.sample_rate
        return wanted is None or info.rate is None or abs(info.rate - wanted) <= 1e-3 * wanted

    def _mixed_rates(self) -> DataError:
        files = [
            f"{path} ({', '.join(f'{count:,} at {rate:g} Hz' for rate, count in sorted(rates.items()))})"
            for path, rates in self._rates.items()
        ]
        shown = "; ".join(files[:_FILES_SHOWN])
        more = f"; and {len(files) - _FILES_SHOWN} more files" if len(files) > _FILES_SHOWN else ""
        others = sum(rates.total() for rates in self._rates.values())
        return DataError(
            f"{others:,} of {self._total:,} reads were not sampled at data.sample_rate "
            f"{self._source.sample_rate:g} Hz: {shown}{more}",
            where="data.sample_rate",
            how="leave them out with data.rates=skip, bring them to that rate with data.rates=resample, or "
            "the files with data.exclude",
        )


def _molecule(file: FileInfo, info: SignalInfo) -> Molecule | None:
    runs, number = file.meta.get("run_infos", ()), info.meta.get("run_info", 0)
    return molecule_of(runs[number]) if number < len(runs) else None
