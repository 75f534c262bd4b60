"""Form fields of the task configuration: for the admin's page and for `manage.py constance set`."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from tasks_app.generation.options import OPTIONS, Option

MODELS_LIST = "signalbox-models"  # the id of the page's <datalist>


class Decoder(json.JSONDecoder):
    """Refuses what is nested too deep for Python as it refuses other nonsense."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except RecursionError:
            raise json.JSONDecodeError("Nested too deep", s[:10], 0) from None


def option_field(*, name: str, **options: Any) -> forms.Field:
    """Make the field of one option; what the option refuses is said at the field.

    CONSTANCE_ADDITIONAL_FIELDS names this function, which django-constance calls as a class.
    """
    option = OPTIONS[name]
    options |= {"help_text": option.help, "required": False}
    if option.type is bool:
        return forms.BooleanField(**options)
    if option.type is int:
        return _checked(forms.IntegerField, option, options | {"required": True})
    if option.type is dict:
        return _checked(
            forms.JSONField, option, options | {"widget": _textarea(4), "decoder": Decoder}
        )
    if option.name.endswith("_TEMPLATE"):
        return _checked(forms.CharField, option, options | {"widget": _textarea(8), "strip": False})
    return _checked(forms.CharField, option, options | {"widget": _model_input()})


def _checked(kind: type[forms.Field], option: Option, options: dict[str, Any]) -> forms.Field:
    class Checked(kind):  # type: ignore[misc, valid-type] # a base that is a parameter
        def clean(self, value: Any) -> Any:
            try:
                return option.check(super().clean(value))
            except ValueError as error:
                raise ValidationError(str(error)) from error

    return Checked(**options)


def _model_input() -> forms.TextInput:
    # The admin's page offers the known models; another one may be written all the same.
    return forms.TextInput(attrs={"class": "vTextField", "list": MODELS_LIST})


def _textarea(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "class": "vLargeTextField"})
