"""What operators do with sessions as files, of whichever kind of grid: export them, and import them into another."""

from htcgrid_core.services.archives.exporting import export
from htcgrid_core.services.archives.importing import Imported, import_archive

__all__ = ["Imported", "export", "import_archive"]
