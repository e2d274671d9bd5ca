"""Reads a model from the environment. Collects every fault; no fault shows a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo

from notifiers.targets import described


@dataclass(frozen=True, slots=True)
class Reading:
    """The context of a validation: what is read, and the faults found."""

    environ: Mapping[str, str]
    root: Path
    faults: list[str] = field(default_factory=list)


class FromEnvironment(BaseModel):
    """A model whose aliases are environment variables. A faulty value becomes the field's default."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _collect_faults(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo[Reading]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            setting = cls.model_fields[info.field_name or ""]
            info.context.faults.extend(described(error, variables(setting)[0]))
            return setting.get_default()


def variables(setting: FieldInfo) -> Sequence[str]:
    """Return the variables of a setting. The first that is set counts."""
    alias = setting.validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]
