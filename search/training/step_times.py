"""What a training step took, remembered in the user's cache folder, so that the next study need not measure it."""

import hashlib
import inspect
import json
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

import klsearch.vae
from klsearch.search.training.models import clips_gradients
from klsearch.search.training.tensorflow import threads_within
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.files import read_ordinary, write_atomically
from klsearch.vae.host.machine import cache_folder, processor_name, total_memory, usable_cores
from klsearch.vae.networks.network import Network
from klsearch.vae.training.devices.cards import card_names

_LARGEST_FILE = 100_000  # bytes: many times what one takes
_LIBRARIES = ("klsearch", "tensorflow", "keras", "numpy")
_Count = Annotated[int, Field(ge=1, le=4096)]
_Seconds = Annotated[float, Field(gt=1e-9, lt=1e5, allow_inf_nan=False)]


class _Noted(BaseModel):
    """A file of the cache: one model on one machine.

    Attributes:
        format: of the file.
        circumstances: all that a step's time depends on.
        candidates: the numbers of members in a thread that were to be measured, ascending.
        seconds: of a step per member, by such a number; those beyond a long step are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    circumstances: dict[str, JsonValue]
    candidates: Annotated[list[_Count], Field(min_length=1, max_length=16)]
    seconds: Annotated[dict[_Count, _Seconds], Field(min_length=1, max_length=16)]


class StepTimes:
    """Remembered times of one model's training step on this machine.

    A memory that cannot be read or written is told of in one line, and costs a measurement, nothing else.

    Args:
        circumstances: all that the times depend on; see `circumstances`.
        say: is told what is wrong.
    """

    def __init__(self, circumstances: Mapping[str, JsonValue], *, say: Callable[[str], None]) -> None:
        self._circumstances = json.loads(json.dumps(circumstances))  # as a file gives them back
        self._say = say
        self._has_said = False

    def recall(self, candidates: Sequence[int]) -> dict[int, float] | None:
        """The times of these numbers of members, as `seconds_per_member` gave them; None if they are not all known."""
        try:
            path = self._path()
            noted = _read(path)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:  # a home folder that is not known is a RuntimeError
            self._complain(f"what earlier studies measured cannot be read ({_reason(error)})")
            return None
        except ValidationError as error:
            self._complain(f"{path} is damaged ({_first_problem(error)}), and is not used")
            return None
        if noted.circumstances != self._circumstances or not _is_whole(noted):
            self._complain(f"{path} is damaged (it is of other studies, or lacks numbers), and is not used")
            return None
        if not set(candidates) <= set(noted.candidates):
            return None
        return {count: noted.seconds[count] for count in candidates if count in noted.seconds}

    def keep(self, candidates: Sequence[int], seconds: Mapping[int, float]) -> None:
        """Remember what was measured of these numbers of members."""
        try:
            noted = _Noted(
                format=1, circumstances=self._circumstances, candidates=list(candidates), seconds=dict(seconds)
            )
            write_atomically(self._path(), noted.model_dump_json(indent=1) + "\n")
        except ValidationError:
            return  # a clock that stood still, say
        except (OSError, RuntimeError) as error:
            self._complain(f"what was measured cannot be remembered ({_reason(error)})")

    def _path(self) -> Path:
        return cache_folder() / "step-times" / f"{_digest(json.dumps(self._circumstances).encode())}.json"

    def _complain(self, what: str) -> None:
        if not self._has_said:
            self._say(f"warning: {what}.")
        self._has_said = True


def circumstances(
    network: Network, definition: StudyDefinition, *, threads: int, processes: int, xla: bool = False
) -> dict[str, JsonValue]:
    """All that the time of a training step depends on, as far as it can be known without measuring.

    Args:
        network: the architecture.
        definition: of the study.
        threads: of this process that train side by side.
        processes: that do so.
        xla: whether XLA compiles the step.
    """
    objective = definition.objective()
    return {
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor_name(),
            "cores": usable_cores(),
            "memory": round(math.log2(max(1, total_memory()))),  # to the power of two: of a container it may vary
            "cards": [*card_names()],
        },
        "versions": {
            **{name: version(name) for name in _LIBRARIES},
            "python": platform.python_version(),
            "engine": _digest_files(Path(klsearch.vae.__file__).resolve().parent.rglob("*.py")),
        },
        "threads": {"side by side": threads, "processes": processes, "within": threads_within()},
        "network": _digest(json.dumps([_described(model) for model in (network.encoder, network.decoder)]).encode()),
        "own code": _digest_files(_own_code(network)),
        "rows": list(network.input_shape),
        "latents": network.latent_dim,
        "batch size": definition.training.batch_size,
        "precision": definition.training.precision,
        "objective": [objective.likelihood.name, objective.reconstruction_reduction, objective.kl_reduction],
        "clips gradients": clips_gradients(definition),
        "xla": xla,
        "deterministic": definition.training.deterministic,
    }


def _described(model: keras.Model) -> JsonValue:
    """A model's structure; layers are named by their number, for Keras counts the names of a whole process on."""
    try:
        config = keras.saving.serialize_keras_object(model)
    except Exception:  # a layer of the user's own may not say what it is made of; its code and its weights do
        config = None
    operations = [operation for part in _parts(model) for operation in _operations(part)]
    numbers = {operation.name: f"#{number}" for number, operation in enumerate(operations)}
    numbers |= {part.name: f"model {number}" for number, part in enumerate(_parts(model))}
    weights: list[JsonValue] = [[*variable.shape, variable.dtype] for variable in model.variables]
    kinds: list[JsonValue] = [type(operation).__qualname__ for operation in operations]
    return [_renamed(config, numbers), kinds, weights]


def _parts(model: keras.Model) -> list[keras.Model]:
    """A model and those inside it."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.Model)]


def _operations(part: keras.Model) -> list[Any]:
    """The layers and other operations of a functional or a sequential model."""
    found: list[Any] = getattr(part, "operations", None) or part._layers
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> JsonValue:
    """A value with each name replaced, in what JSON can hold."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {str(name): _renamed(item, names) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    return value if value is None or isinstance(value, bool | int) else repr(value)


def _own_code(network: Network) -> Iterator[Path]:
    """The files in which layers that are neither Keras's nor ours are written."""
    for model in (network.encoder, network.decoder):
        for layer in model._flatten_layers():
            for kind in type(layer).__mro__:
                if kind.__module__.partition(".")[0] not in ("builtins", "keras", "klsearch", "tensorflow"):
                    try:
                        yield Path(inspect.getfile(kind))
                    except (OSError, TypeError):  # written in a notebook
                        continue


def _digest_files(files: Iterable[Path]) -> str:
    """One short string for what all these files hold."""
    return _digest(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in sorted(set(files))))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _read(path: Path) -> _Noted:
    """A file of the cache.

    Raises:
        OSError: it cannot be read.
        ValidationError: it is not what we wrote.
    """
    return _Noted.model_validate_json(read_ordinary(path, most=_LARGEST_FILE))


def _is_whole(noted: _Noted) -> bool:
    """Whether times are there of the first numbers that were to be measured, as far as there are any."""
    ascending = sorted(set(noted.candidates))
    return noted.candidates == ascending and sorted(noted.seconds) == ascending[: len(noted.seconds)]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _first_problem(error: ValidationError) -> str:
    return str(error.errors(include_url=False, include_input=False)[0]["msg"])
