"""Looks at everything that an embedded grid rests on, and says what is wrong and what to do."""

from htcgrid_core.local.doctor.examine import examine as examine
from htcgrid_core.local.doctor.finding import Finding as Finding
from htcgrid_core.local.doctor.finding import Verdict as Verdict
