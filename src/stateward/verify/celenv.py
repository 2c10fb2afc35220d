"""Google's CEL, with numbers that compare and add up across int and double.

CEL's checker refuses `args.amount > 1000` where amount is a double, which no author of a policy should have
to know. The operators are therefore declared anew: each with CEL's own overloads and with the mixed ones.
Comparing mixed numbers is done by CEL's own runtime; mixed arithmetic is done here, as double. Everything
else of the type check stays: a string never compares with a number.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs] - it has stubs, but no marker

__all__ = ["cel", "new_env"]

_Type = dict[str, Any]
_Overload = tuple[_Type, _Type, _Type]


def _plain(name: str) -> _Type:
    return {"type_name": name}


_ANY: _Type = {"type_name": "A", "is_type_param": True}
_OTHER: _Type = {"type_name": "B", "is_type_param": True}
_BOOL, _INT, _UINT, _DOUBLE = _plain("bool"), _plain("int"), _plain("uint"), _plain("double")
_STRING, _BYTES, _TIME, _SPAN = _plain("string"), _plain("bytes"), _plain("timestamp"), _plain("duration")

_MIXED = ((_DOUBLE, _INT), (_INT, _DOUBLE))
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_/_": lambda left, right: left / right,
}


def new_env(variables: Mapping[str, cel.Type]) -> cel.Env:
    """An environment in which exactly these names are declared."""
    config, implementations = _library()
    return cel.NewEnv(config=config, variables=variables, function_impls=implementations)


@cache
def _library() -> tuple[cel.EnvConfig, dict[str, Callable[[Any, Any], Any]]]:
    operators = _operators()
    functions = [
        {"name": name, "overloads": [_overload(name, *overload) for overload in overloads]}
        for name, overloads in operators.items()
    ]
    # CEL's configuration is YAML, and JSON is YAML.
    config = {
        "name": "stateward",
        "stdlib": {"exclude_functions": [{"name": name} for name in operators]},
        "functions": functions,
    }
    implementations = {
        _overload(name, left, right, _DOUBLE)["id"]: function
        for name, function in _ARITHMETIC.items()
        for left, right in _MIXED
    }
    return cel.NewEnvConfigFromYaml(json.dumps(config)), implementations


def _operators() -> dict[str, list[_Overload]]:
    ordered = [(each, each, _BOOL) for each in (_BOOL, _INT, _UINT, _DOUBLE, _STRING, _BYTES, _TIME, _SPAN)]
    numbers = [(each, each, each) for each in (_INT, _UINT, _DOUBLE)]
    compared = [(left, right, _BOOL) for left, right in _MIXED]
    computed = [(left, right, _DOUBLE) for left, right in _MIXED]
    joined = [(each, each, each) for each in (_STRING, _BYTES, _SPAN, _list(_ANY))]
    return {
        **dict.fromkeys(("_>_", "_<_", "_>=_", "_<=_"), ordered + compared),
        **{name: [(_ANY, _ANY, _BOOL), *compared] for name in ("_==_", "_!=_")},
        "@in": [(_ANY, _list(_ANY), _BOOL), (_ANY, _map(_ANY, _OTHER), _BOOL)]
        + [(left, _list(right), _BOOL) for left, right in _MIXED],
        "_+_": [*numbers, *joined, (_TIME, _SPAN, _TIME), (_SPAN, _TIME, _TIME), *computed],
        "_-_": [*numbers, (_SPAN, _SPAN, _SPAN), (_TIME, _SPAN, _TIME), (_TIME, _TIME, _SPAN), *computed],
        "_*_": numbers + computed,
        "_/_": numbers + computed,
    }


def _list(items: _Type) -> _Type:
    return {"type_name": "list", "params": [items]}


def _map(keys: _Type, values: _Type) -> _Type:
    return {"type_name": "map", "params": [keys, values]}


def _overload(name: str, left: _Type, right: _Type, result: _Type) -> _Type:
    words = [each["type_name"] for each in (left, right)]
    return {"id": "_".join(["stateward", name, *words]), "args": [left, right], "return": result}
