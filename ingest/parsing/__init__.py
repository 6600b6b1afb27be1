"""Files to canonical text."""

import os

# unstructured reads these when it is imported, which is below here: no analytics, no telemetry, no advertisement.
os.environ.update(DO_NOT_TRACK="true", SCARF_NO_ANALYTICS="true", UNSTRUCTURED_DISABLE_NOTICE="1")
