"""Triton over gRPC: what the engine asks of a server, with time limits and named errors."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.errors import DeploymentError, ServerUnavailableError

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

CALL_SECONDS = 10.0
LOAD_SECONDS = 120.0
CONFIRM_SECONDS = 30.0
AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


class TritonClient:
    """One Triton server.

    Args:
        url: ``host:port`` of its gRPC service.
    """

    def __init__(self, url: str) -> None:
        from tritonclient.grpc import InferenceServerClient

        self.url = url
        self._client: InferenceServerClient = InferenceServerClient(url)

    def __enter__(self) -> TritonClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_live(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self._call("is_server_live", client_timeout=CALL_SECONDS))
        except ServerUnavailableError:
            return False

    def require_live(self) -> None:
        """Check that the server answers.

        Raises:
            ServerUnavailableError: It does not.
        """
        if not self._call("is_server_live", client_timeout=CALL_SECONDS):
            raise self._away("it says that it is not live")

    def load(self, model: str, versions: Collection[int]) -> None:
        """Load a model, or load it again, and confirm that exactly these versions serve.

        When the answer is lost, the server's state is read back instead.

        Raises:
            DeploymentError: The server refused it, or serves other versions.
            ServerUnavailableError: It did not answer.
        """
        try:
            self._call("load_model", model, client_timeout=LOAD_SECONDS)
        except ServerUnavailableError:
            if not self._confirm(model, set(versions), CONFIRM_SECONDS):
                raise
            return
        if not self._confirm(model, set(versions), CONFIRM_SECONDS):
            raise DeploymentError(
                "Triton does not serve the versions it was told to",
                where=f"{model} on {self.url}",
                found=self.describe(model),
                expected=f"versions {sorted(versions)} ready",
                fix="read Triton's log",
            )

    def unload(self, model: str) -> None:
        """Unload a model; nothing happens when it is not loaded."""
        self._call("unload_model", model, client_timeout=LOAD_SECONDS)

    def ready_versions(self, model: str) -> set[int]:
        """Versions that serve now."""
        return {
            int(item.version) for item in self._index() if item.name == model and _is_ready(item)
        }

    def describe(self, model: str) -> str:
        """Every version's state and reason, for people."""
        states = [
            f"version {item.version or '?'} {item.state} {item.reason}".strip()
            for item in self._index()
            if item.name == model
        ]
        return "; ".join(states) or "not loaded"

    def list_models(self) -> list[str]:
        """Every model version that the server knows, with its state, for people."""
        return sorted(
            f"{item.name} version {item.version or '-'}: {item.state} {item.reason}".strip()
            for item in self._index()
            if item.state
        )

    def infer(
        self, model: str, version: int | None, feeds: Mapping[str, NDArray[Any]], output: str
    ) -> NDArray[np.float32]:
        """Predict.

        Args:
            model: Model name.
            version: Its version; None is what clients get that name none.
            feeds: One array of shape (N, 1) for each input: float32, or strings as objects.
            output: Name of the output tensor.

        Returns:
            The output, of shape (N, K).

        Raises:
            DeploymentError: The server refused the request.
            ServerUnavailableError: It did not answer.
        """
        from tritonclient.grpc import InferInput

        inputs = []
        for name, values in feeds.items():
            kind = "BYTES" if values.dtype == np.object_ else "FP32"
            tensor = InferInput(name, list(values.shape), kind)
            tensor.set_data_from_numpy(values)
            inputs.append(tensor)
        answer = self._answer(model, inputs, "" if version is None else str(version))
        result = answer.as_numpy(output)
        if result is None:
            raise DeploymentError(
                "the answer lacks its output",
                where=f"{model} on {self.url}",
                expected=f"output `{output}`",
            )
        return np.asarray(result, dtype=np.float32)

    def _answer(self, model: str, inputs: list[Any], version: str) -> Any:
        try:
            return self._call(
                "infer", model, inputs, model_version=version, client_timeout=CALL_SECONDS
            )
        except ServerUnavailableError as error:
            if not self.is_live():
                raise
            raise DeploymentError(
                "the server answers, but the model does not",
                where=f"{model} on {self.url}",
                found=error.found,
                expected=f"an answer within {CALL_SECONDS:.0f} s",
                fix="read Triton's log",
            ) from error

    def _confirm(self, model: str, versions: set[int], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while True:
            try:
                if self.ready_versions(model) == versions:
                    return True
            except ServerUnavailableError:
                pass
            if time.monotonic() > end:
                return False
            time.sleep(0.2)

    def _index(self) -> list[Any]:
        index = self._call("get_model_repository_index", client_timeout=CALL_SECONDS)
        return list(index.models)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        from tritonclient.utils import InferenceServerException

        try:
            return getattr(self._client, method)(*args, **kwargs)
        except InferenceServerException as error:
            status = str(error.status())
            if any(word in status for word in AWAY):
                raise self._away(error.message()) from error
            raise DeploymentError(
                "Triton refused the request",
                where=f"{method} on {self.url}",
                found=error.message(),
                fix=_advice(error.message()),
            ) from error

    def _away(self, found: object) -> ServerUnavailableError:
        return ServerUnavailableError(
            "the model server does not answer",
            where=self.url,
            found=found,
            fix="start it (`mlops triton up` or `mlops up`), or correct MLOPS_TRITON_GRPC_URL or "
            "the project's deployment.grpc_url; what is live stays as it is",
        )


def _advice(message: str) -> str:
    if "failed to poll" in message:
        return (
            "the server may read another model repository than the one that was written: "
            "MLOPS_TRITON_REPOSITORY or deployment.model_repository must be its "
            "--model-repository, as this machine sees it"
        )
    return "read Triton's log for the whole reason"


def _is_ready(item: Any) -> bool:
    return item.state == "READY" and str(item.version).isdigit()
