"""Static files as production serves them: compressed, and under names that change with their content."""

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Renames what one JavaScript module imports from another too.

    Without it a browser would mix an old module with a new one for as long as it caches the plain name.
    """

    support_js_module_import_aggregation: Any = True
