"""Where a table of input lies, and how its texts, numbers and times are written."""

import codecs
import importlib.util
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from divspa.errors import ConfigError
from divspa.settings import Place, Section, Text, without_credentials

TimeUnit = Literal["timestamp", "seconds", "milliseconds", "microseconds", "nanoseconds", "order"]
ColumnType = Literal["string", "bigint", "double", "boolean", "timestamp", "date"]
PACKAGE_SCHEME = "package:"
# Of Spark's readers, by format; `decimal` is ours: the mark before the fraction of a number.
OPTIONS = {
    "csv": """sep delimiter quote escape encoding header multiLine comment lineSep decimal ignoreLeadingWhiteSpace
        ignoreTrailingWhiteSpace charToEscapeQuoteEscaping maxColumns maxCharsPerColumn""",
    "jsonl": """allowComments allowUnquotedFieldNames allowSingleQuotes allowNumericLeadingZeros
        allowNonNumericNumbers allowBackslashEscapingAnyCharacter""",
    "parquet": "",
    "delta": "versionAsOf timestampAsOf",
}
Option = str | bool | int


class Source(Section):
    """A table of input at a path, in which `$NAME` is an environment variable, or at `package:NAME/FILE`.

    A text that is one of `null_values`, in any case, says nothing. A CSV column that an expression uses has the type
    given by `types`, or else the one that its values have. Files may lack `optional_columns`, which are null there.
    """

    path: Place
    format: Literal["parquet", "csv", "jsonl", "delta"] = "parquet"
    options: dict[str, Option] = Field(default_factory=dict)
    types: dict[str, ColumnType] = Field(default_factory=dict)
    optional_columns: tuple[Text, ...] = ()
    null_values: tuple[str, ...] = ("NULL", "NaN", "None", "\\N")
    corrupt_files: Literal["error", "quarantine"] = "error"

    @model_validator(mode="after")
    def _options_known(self) -> "Source":
        known = sorted(OPTIONS[self.format].split())
        if unknown := sorted(set(self.options) - set(known)):
            raise ValueError(f"`options` of {self.format} are {', '.join(known) or 'none'}, not {', '.join(unknown)}")
        try:
            codecs.lookup(str(self.options.get("encoding", "utf-8")))
        except LookupError as error:
            raise ValueError(f"`options.encoding`: {error}") from error
        for name in ("decimal", "quote", "comment"):
            if len(str(self.options.get(name, "."))) > 1:
                raise ValueError(f"`options.{name}` is one character")
        return self

    @property
    def location(self) -> str:
        """The path, resolved. Raises ConfigError when a package is not installed or a variable is not set."""
        if not self.path.startswith(PACKAGE_SCHEME):
            path = os.path.expandvars(self.path)
            if "$" in path:
                raise ConfigError(f"The input {self.path} names an environment variable that is not set")
            try:
                return without_credentials(path)
            except ValueError as error:
                raise ConfigError(f"The input {self.path} cannot be used", found=str(error)) from error
        package, _, file = self.path.removeprefix(PACKAGE_SCHEME).partition("/")
        if not package.isidentifier() or ".." in Path(file).parts:
            raise ConfigError(f"The input {self.path} is not in a package", expected="package:NAME/FILE")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"The input {self.path} names the Python package {package}, which is not installed",
                remedy=f"pip install {package.replace('_', '-')}",
            )
        return str(Path(next(iter(spec.submodule_search_locations))) / file)
