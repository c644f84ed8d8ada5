"""The engine that creates images on ComfyUI servers."""

import os
from collections.abc import Container, Sequence
from functools import cached_property

from acusim.control_hint import NO_DEPTH
from acusim.errors import AcuSimError, ConfigError, EngineError, PictureError
from engines.base import WORKFLOW_FILE, Check, Engine, Request, Result, Setup
from engines.comfyui.client import Client
from engines.comfyui.errors import ServerError, safe_text
from engines.comfyui.fleet import Fleet, Server
from engines.comfyui.header_file import read_headers
from engines.comfyui.http import normal_url
from engines.comfyui.preflight import Inspection, check_disk, check_workflow, inspect
from engines.comfyui.staging import Staging, ensure_token, known_token
from engines.comfyui.times import Times
from engines.comfyui.transport import Remote, Shared
from engines.comfyui.workflow import Workflow, load_workflow
from engines.options import ComfyUIOptions
from engines.recipe import Recipe

DEFAULT_SERVER = "http://127.0.0.1:8188"
DEFAULT_BATCH = 4
CONCURRENCY = 3
"""Threads for each server: it has two prompts while a third one's samples are read or images written."""
IC_LIGHT = "LoadAndApplyICLightUnet"


class ComfyUIEngine(Engine):
    """Relights by diffusion on ComfyUI servers: Stable Diffusion 1.5, IC-Light and IP-Adapter."""

    name = "comfyui"
    processes = False
    times = Times()
    """How long to wait for what; used from ``open`` on."""

    def __init__(self, recipe: Recipe, setup: Setup | None = None):
        """Takes servers, workflow and batch size from the setup.

        Raises:
            ConfigError: there is no setup, or something in it is invalid.
        """
        super().__init__(recipe, setup)
        if setup is None:
            raise ConfigError("engine comfyui requires a setup with the data set and the servers")
        self._setup = setup
        self.options = setup.of(ComfyUIOptions)
        self._urls = tuple(dict.fromkeys(normal_url(url) for url in self.options.server or (DEFAULT_SERVER,)))
        self._headers = read_headers(self._urls, self.options.server_header_file, os.environ)
        self._fleet: Fleet | None = None
        self._clients: list[Client] = []
        self._staging = Staging(setup.output) if setup.output is not None else None
        self._max_batch = self.options.batch_size or DEFAULT_BATCH
        self.concurrency = CONCURRENCY * len(self._urls)
        self.servers = self._urls

    @property
    def batch_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """1 for a workflow with one seed for the whole batch."""
        return 1 if self.workflow.plain_sampler else self._max_batch

    @cached_property
    def workflow(self) -> Workflow:
        """The workflow, read once, without what the recipe does not use.

        Raises:
            ConfigError: it cannot be read, or is not a workflow.
        """
        return load_workflow(self.options.workflow, self.recipe.wiring).adapted(self.recipe)

    @property
    def fleet(self) -> Fleet:
        """The servers.

        Raises:
            EngineError: the engine is not open.
        """
        if self._fleet is None:
            raise EngineError("engine comfyui is not open")
        return self._fleet

    def identity(self) -> dict[str, str]:
        """The hash of the workflow, which decides pixels, too."""
        return {"workflow": self.workflow.sha256}

    def documents(self) -> dict[str, bytes]:
        """The workflow as it was read."""
        return {WORKFLOW_FILE: self.workflow.data}

    def check(self) -> list[Check]:
        """All checks of the preflight; nothing is queued."""
        checks, _ = self._preflight(self._new_clients(known_token(self._setup.output)), check=True)
        note = self._headers.note
        return [*checks, Check("login", None, note, "nothing to do if they may")] if note else checks

    def _new_clients(self, token: str) -> list[Client]:
        return [Client(url, token, self.times, self._headers.servers[url]) for url in self._urls]

    def open(self) -> None:
        """Runs the preflight and connects.

        Raises:
            EngineError: names every check that failed.
            ConfigError: the workflow cannot be read.
        """
        self._clients = self._new_clients(ensure_token(self._setup.output))
        try:
            checks, found = self._preflight(self._clients)
            wrong = [check for check in checks if check.ok is False]
            if wrong:
                text = "\n".join(f"  {c.name}: {c.found}" + (f"\n    -> {c.fix}" if c.fix else "") for c in wrong)
                raise EngineError(f"engine comfyui cannot start:\n{text}")
            self.notes += [f"{check.name}: {check.found}" for check in checks if check.ok is None]
            self.notes += filter(None, [self._headers.note])
            servers = [self._server(client, each) for client, each in zip(self._clients, found, strict=True)]
            if self._staging and any(isinstance(server.transport, Shared) for server in servers):
                self._staging.remove_leftovers()
        except BaseException:
            self.close()
            raise
        self._fleet = Fleet(servers, self._setup.dataset, self.times, self.notes)

    def _preflight(self, clients: Sequence[Client], check: bool = False) -> tuple[list[Check], list[Inspection]]:
        """Checks, and the inspection of each server; ``check``: nothing follows, so the clients are closed."""
        checks = [*check_workflow(self.workflow, self.recipe), *check_disk(self._setup.output)]
        found: list[Inspection] = []
        for client in clients:
            try:
                found.append(inspect(client, self.workflow, self.recipe, self._setup, self._staging, socket=check))
            finally:
                if check:
                    client.close()
            prefix = f"{client.url} " if len(clients) > 1 else ""
            checks += [Check(prefix + c.name, c.ok, c.found, c.fix) for c in found[-1].checks]
        return checks, found

    def _server(self, client: Client, found: Inspection) -> Server:
        """A server that passed, cleared of what earlier runs left."""
        assert found.binding is not None and found.transport is not None
        client.titles = found.binding.titles
        client.listener.start()
        self._clean_up(client)
        may_change = self.options.transport == "auto" and isinstance(found.transport, Shared)
        facts = {"workflow": self.workflow.sha256[:12], "server": f"ComfyUI {found.version}"}
        limit = self._max_batch if found.binding.batches else 1
        spare = Remote(client, client.token) if may_change else None
        return Server(client, found.binding, found.transport, facts, limit, spare)

    def _clean_up(self, client: Client) -> None:
        """Drops what a killed run for the same OUT left in the queue, and unloads models patched for another wiring."""
        queue = client.queue()
        orphans = [entry.prompt_id for entry in queue if entry.token == client.token]
        if orphans:
            client.drop(orphans)
            self.notes.append(f"{client.url}: dropped {len(orphans)} prompts that an earlier run left there")
        others = [entry for entry in queue if entry.token != client.token]
        try:
            history = client.recent()
        except ServerError as error:
            self.notes.append(f"{client.url}: the history cannot be read: {error}")
            return
        models = [(model, entry.succeeded) for entry in history for model in _ic_light(entry.graph)]
        ours = self.recipe.ic_light.replace("\\", "/")
        mixed = models and models[-1] != (ours, True) and any(model != ours for model, _ in models)
        if any(model != ours for entry in others for model in _ic_light(entry.graph)):
            self.notes.append(
                f"{client.url}: prompts of others there use another IC-Light model; the two wirings disturb each "
                "other on one server, so wait until theirs have finished"
            )
        elif mixed and not others:
            client.free()
            self.notes.append(f"{client.url}: unloaded models, because another IC-Light model was used before")

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """Splits by size, settings and repeats; the fleet runs each group."""
        answers: dict[int, Result | AcuSimError] = {}
        if "depth" in self.workflow.titled:
            flat = (position for position, request in enumerate(batch) if request.depth_data is None)
            answers = {position: PictureError(NO_DEPTH) for position in flat}
        for positions in _groups(batch, answers):
            reason = self._unchangeable(batch[positions[0]])
            if reason:
                answers |= {position: PictureError(reason) for position in positions}
                continue
            results = self.fleet.run([batch[position] for position in positions])
            answers.update(zip(positions, results, strict=True))
        return [answers[position] for position in range(len(batch))]

    def _unchangeable(self, request: Request) -> str:
        """Why an image cannot differ from the recipe as it should, "" if it can: the graph decides all of that."""
        wanted = [name for name, value in request.changes.items() if value != getattr(self.recipe, name)]
        if not wanted or any(self.workflow.place(name) for name in wanted):
            return ""
        return (
            f"the workflow itself decides {', '.join(wanted)}: no node has the title that docs/guide/comfyui.md lists"
        )

    def work_in_progress(self) -> float:
        """Sampler steps done on prompts on their way, in images."""
        return self._fleet.work_in_progress() if self._fleet else 0.0

    def activity(self) -> str:
        """The step of the prompt that is furthest."""
        return self._fleet.activity() if self._fleet else ""

    def is_waiting(self) -> bool:
        """No server can be reached."""
        return self._fleet is not None and self._fleet.is_waiting()

    def stop(self) -> None:
        """Ends running calls; each interrupts its own prompt by id."""
        if self._fleet:
            self._fleet.stop()

    def close(self) -> None:
        """Ends connections and removes staged files."""
        if self._fleet:
            self._fleet.close()
            if self._staging:
                self._staging.close()
        self._fleet = None
        for client in self._clients:
            client.close()
        self._clients = []


def _groups(batch: Sequence[Request], answered: Container[int]) -> list[list[int]]:
    """Positions, but for some, that can share a prompt: equal size, scene, texts and settings, and no image twice."""
    groups: list[tuple[object, set[object], list[int]]] = []
    for position, request in enumerate(batch):
        if position in answered:
            continue
        shared = request.pixels.shape, request.scene.sha256, request.positive, request.negative, request.changes
        for key, sources, positions in groups:
            if key == shared and request.source not in sources:
                sources.add(request.source)
                positions.append(position)
                break
        else:
            groups.append((shared, {request.source}, [position]))
    return [positions for _, _, positions in groups]


def _ic_light(graph: object) -> list[str]:
    """The IC-Light models that a graph loads, whoever posted it."""
    found: list[str] = []
    for node in graph.values() if isinstance(graph, dict) else []:
        inputs = node.get("inputs") if isinstance(node, dict) and node.get("class_type") == IC_LIGHT else None
        if isinstance(inputs, dict):
            found.append(safe_text(inputs.get("model_path"), 200).replace("\\", "/"))
    return found
