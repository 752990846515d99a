"""Results of expensive stages, kept on disk under a key of their arguments and of the code they rest on.

An entry is one file: a line with the SHA-256 of the rest, then safetensors whose metadata says what made it.
Deleting the cache changes how long things take, never what comes out.
"""

import errno
import functools
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from robexpl import files, progress
from robexpl.study import places, provenance

Arrays = dict[str, Any]


def cached(stage: Callable[..., Arrays]) -> Callable[..., Arrays]:
    """Decorate a stage, a function from plain arguments to a dict of tensors or arrays, so that it runs once per key.
    The key rests on the arguments, the torch version and the code that the stage uses (see `provenance.digest`).
    Dataclasses among the arguments bring the code of their class and of the functions that their method `code()` names:
    so "mnist" or "fgsm" brings that of its file. The result has `.stage_name`, `.key(...)`, `.path(...)` and, for what
    was computed elsewhere, `.keep(values, ...)`. Raises ValueError for arguments that JSON has no form for, and OSError
    where the entry cannot be written.
    >>> cached(describe).key("one") == cached(describe).key("another")
    False
    """
    name, signature = stage.__name__, inspect.signature(stage)

    def identity(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound, code = signature.bind(*args, **kwargs), [stage]
        bound.apply_defaults()
        arguments = {key: _plain(value, f"{name}({key})", code) for key, value in bound.arguments.items()}
        version = torch.__version__.split("+")[0]
        return {"stage": name, "arguments": arguments, "code": provenance.digest(code), "torch": version}

    def key(*args: Any, **kwargs: Any) -> str:
        return files.sha256(json.dumps(identity(*args, **kwargs), sort_keys=True).encode())[:24]

    def path(*args: Any, **kwargs: Any) -> Path:
        return places.build_dir() / "cache" / name / key(*args, **kwargs)

    @functools.wraps(stage)
    def call(*args: Any, **kwargs: Any) -> Arrays:
        file = path(*args, **kwargs)
        if (found := _read(file)) is not None:
            return found
        with places.locked(f"{name}-{file.name}"):
            if (found := _read(file)) is None:  # another process may have made it while this one waited
                made = {**identity(*args, **kwargs), "key": file.name}
                files.write_atomic(file, _pack(stage(*args, **kwargs), made))
                found = _read(file)
        if found is None:
            raise OSError(f"expected to read back {places.label(file)} just written, got other bytes")
        return found

    def keep(values: Arrays, *args: Any, **kwargs: Any) -> None:
        """Write what was computed elsewhere, unless the entry is there."""
        file = path(*args, **kwargs)
        with places.locked(f"{name}-{file.name}"):
            if _read(file) is None:
                files.write_atomic(file, _pack(values, {**identity(*args, **kwargs), "key": file.name}))

    call.stage_name, call.key, call.path, call.keep = name, key, path, keep
    return call


def checkpoint_path(stage: Callable[..., Arrays], *args: Any, **kwargs: Any) -> Path:
    """Return the file beside a stage's entry in which the stage may keep its state while it runs.
    >>> checkpoint_path(cached(describe), "one").suffix
    '.part'
    """
    return stage.path(*args, **kwargs).with_suffix(".part")


def _plain(value: Any, where: str, code: list[Callable]) -> Any:
    """Return an argument as JSON, exactly, and add to `code` what its dataclasses bring; refuse others, as tensors."""
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(item, where, code) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, where, code) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        code += [type(value), *getattr(value, "code", tuple)()]
        parts = {field.name: _plain(getattr(value, field.name), where, code) for field in fields(value)}
        return {"": type(value).__name__, **parts}
    raise ValueError(f"expected plain arguments of a cached stage, got {type(value).__name__} in {where}")


def _pack(values: Arrays, made: dict[str, Any]) -> bytes:
    if not isinstance(values, dict) or not all(isinstance(v, (torch.Tensor, np.ndarray)) for v in values.values()):
        raise ValueError(f"expected {made['stage']} to return a dict of tensors or arrays, got {type(values).__name__}")
    arrays = sorted(key for key, value in values.items() if isinstance(value, np.ndarray))
    tensors = {
        key: torch.from_numpy(np.array(value)) if key in arrays else value.detach().cpu().contiguous().clone()
        for key, value in values.items()
    }
    metadata = json.dumps({**made, "numpy": arrays}, sort_keys=True)  # one string: their order of keys is not fixed
    payload = to_safetensors(tensors, {"robexpl": metadata})
    return files.sha256(payload).encode() + b"\n" + payload


def _read(file: Path) -> Arrays | None:
    """Return what an entry holds, None where there is none; a damaged or foreign one is named and removed."""
    try:
        data = _bytes(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(f"cannot read {places.label(file)}: {error.strerror}") from None
    digest, _, payload = data.partition(b"\n")
    try:
        if digest != files.sha256(payload).encode():
            raise ValueError("its checksum does not fit")
        made = describe(payload)
        if (made.get("stage"), made.get("key")) != (file.parent.name, file.name):
            raise ValueError(f"it holds {made.get('stage')} {made.get('key')}")
        tensors = from_safetensors(payload)
        return {key: tensors[key].numpy() if key in made["numpy"] else tensors[key] for key in sorted(tensors)}
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        progress.warn(f"{places.label(file)} is damaged ({error}); computing it again")
        with suppress(OSError):  # a read-only folder is named when the new entry is written
            file.unlink(missing_ok=True)
        return None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return file.read_bytes()  # on a shared folder, another machine put the same entry in its place meanwhile


def describe(payload: bytes) -> dict[str, Any]:
    """Return what made an entry, from the metadata of its safetensors payload (the file without its first line)."""
    size = int.from_bytes(payload[:8], "little")
    return json.loads(json.loads(payload[8 : 8 + size])["__metadata__"]["robexpl"])
