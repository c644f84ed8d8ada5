"""Checks a server before anything is queued: does it have what the workflow, the recipe and the transport need?

Every check runs, whatever failed before it; each line of a fault names its fix. Nothing is queued or changed.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import acusim
from acusim.errors import EngineError
from engines.base import Check, Setup
from engines.comfyui.binding import Binding
from engines.comfyui.bypass import adapter_title
from engines.comfyui.client import Client
from engines.comfyui.errors import ServerError, safe_text
from engines.comfyui.models import MODELS, check_model, download_source
from engines.comfyui.roots import locate, parse_roots, roots_setting, why_not_shared
from engines.comfyui.staging import Staging
from engines.comfyui.suggestions import fitting_files, set_option, suggest_fix
from engines.comfyui.transport import Remote, Shared, Transport
from engines.comfyui.workflow import Workflow
from engines.options import ComfyUIOptions
from engines.recipe import Recipe

KNOWN_VERSION = (0, 3, 64)
"""Of ComfyUI: older ones may ignore prompt ids that the client chose."""
LOW_DISK = 2 << 30
NO_DISK = 100 << 20
OPTIONAL_TITLES = {
    "Positive": "the graph's own text is used, whatever the prompt set says",
    "Negative": "the graph's own text is used, whatever the prompt set says",
    "Scene": "the graph's own light is used, whatever scene an image was planned with",
}
"""Titles that a workflow may lack -> what decides then."""
NODES_FIX = (
    "link this project's comfy_nodes folder into ComfyUI's custom_nodes (of the same version as this program), "
    "then restart ComfyUI"
)
SOCKET_FIX = (
    "let the proxy forward /ws, with its Upgrade header and the same login; without it images are created, "
    "but no progress is shown"
)


@dataclass(slots=True)
class Inspection:
    """The result of the checks of one server."""

    checks: list[Check] = field(default_factory=list)
    version: str = ""
    binding: Binding | None = None
    transport: Transport | None = None

    def add(self, name: str, ok: bool | None, found: str, fix: str = "") -> None:
        """Adds a line."""
        self.checks.append(Check(name, ok, found, "" if ok else fix))


def inspect(
    client: Client,
    workflow: Workflow,
    recipe: Recipe,
    setup: Setup,
    staging: Staging | None = None,
    socket: bool = False,
) -> Inspection:
    """Checks everything that concerns one server.

    Args:
        client: for this server.
        workflow: what will be queued there.
        recipe: what is filled in.
        setup: where images are, and how they reach the server.
        staging: the run's folder below OUT.
        socket: also open a websocket for a moment; a run finds out by itself.
    """
    found = Inspection()
    if not _check_server(found, client):
        return found
    _check_login(found, client)
    if socket:
        why = client.listener.probe()
        found.add("websocket", True if not why else None, why or "opens", SOCKET_FIX)
    info = _check_nodes(found, client)
    try:
        classes = client.object_info()
        found.binding = Binding(workflow, recipe, classes)
    except ServerError as error:
        found.add("nodes", False, str(error), error.advice or "see above; the list of nodes could not be read")
    else:
        _check_graph(found, found.binding, recipe)
        _check_models(found, client, found.binding, recipe)
    _check_transport(found, client, info, setup, staging)
    _check_queue(found, client)
    return found


def check_workflow(workflow: Workflow, recipe: Recipe) -> Iterator[Check]:
    """Checks of a workflow that need no server."""
    for fault in workflow.faults:
        yield Check("workflow", False, f"{workflow.name}: {fault}", "correct it in the editor, then Export (API) again")
    if not workflow.faults:
        yield Check("workflow", True, f"{workflow.name}, {len(workflow.nodes)} nodes, {workflow.sha256[:12]}")
    for title, what in OPTIONAL_TITLES.items():
        if title.casefold() not in workflow.titled:
            found = f"the workflow has no node titled {title}: {what}"
            yield Check(title, None, found, f"nothing to do if this is intended; else give the node the title {title}")
    if recipe.light_transfer and workflow.place("light_transfer") is None:
        found = f"light_transfer = {recipe.light_transfer:g}, but the workflow has no node titled Light transfer"
        yield Check("light transfer", False, found, "add AcuSim Light Transfer before Background, with this title")
    if recipe.control_strength and workflow.place("control_strength") is None:
        found = f"control_strength = {recipe.control_strength:g}, but the workflow has no node titled ControlNet"
        fix = "take the shipped workflow, or add the nodes of its ControlNet, with their titles"
        yield Check("ControlNet", False, found, fix)
    for kind in recipe.references if recipe.reference != "auto" else ():
        title = adapter_title(kind, workflow.wiring)
        if title not in workflow.titled:
            found = f"reference = {recipe.reference}, but the workflow has no node titled {title!r}"
            yield Check("IP-Adapter", False, found, "take the shipped workflow, or add that node, with this title")
    wiring = workflow.wiring
    if wiring is None:
        fix = "nothing to do if this is intended"
        yield Check(
            "wiring", None, "the workflow holds no IC-Light conditioning; the recipe's wiring does not count", fix
        )
    else:
        found = f"the workflow is wired {wiring}, the recipe has {recipe.wiring}"
        fix = "" if wiring == recipe.wiring else f"--set wiring={wiring}, or a workflow wired {recipe.wiring}"
        yield Check("wiring", wiring == recipe.wiring, found, fix)


def check_disk(output: Path | None) -> Iterator[Check]:
    """The free space on the disk of OUT."""
    if output is None:
        return
    place = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    try:
        yield _disk_space("disk of OUT", shutil.disk_usage(place).free)
    except OSError as error:
        yield Check("disk of OUT", None, f"{place}: {error.strerror}")


def _disk_space(name: str, free: int) -> Check:
    ok = False if free < NO_DISK else None if free < LOW_DISK else True
    return Check(name, ok, f"{free / (1 << 30):.1f} GB free", "" if ok else "free some space before a large batch")


def _check_server(found: Inspection, client: Client) -> bool:
    """Whether a ComfyUI answers; else there is nothing more to check."""
    try:
        stats = client.system_stats()
    except ServerError as error:
        found.add("ComfyUI", False, str(error), error.advice or "start ComfyUI, or name its address with --server")
        return False
    system = stats.get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    if not isinstance(version, str):
        found.add(
            "ComfyUI", False, f"{client.url} answers, but not as ComfyUI does", "name another address by --server"
        )
        return False
    found.version = safe_text(version, 40)
    numbers = tuple(int(part) for part in version.split(".") if re.fullmatch(r"[0-9]{1,9}", part))
    known = numbers >= KNOWN_VERSION
    fix = f"update ComfyUI: this program was developed with {'.'.join(map(str, KNOWN_VERSION))}"
    found.add("ComfyUI", True if known else None, f"{client.url}, version {found.version}", fix)
    return True


def _check_login(found: Inspection, client: Client) -> None:
    """The headers that a login in front of the server is sent, if any."""
    if client.access.names:
        open_line = urlsplit(client.url).scheme == "http" and not is_local(client.url)
        state = "unencrypted, readable by everyone on the way" if open_line else "accepted"
        fix = "name an https:// address, or a tunnel's on this machine"
        found.add("login", None if open_line else True, f"header {client.access.names} is sent, {state}", fix)


def is_local(url: str) -> bool:
    """Whether a server is on this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _check_nodes(found: Inspection, client: Client) -> Mapping[str, Any] | None:
    try:
        info = client.pack_info()
    except ServerError as error:
        found.add("AcuSim nodes", False, str(error), error.advice or NODES_FIX)
        return None
    if info is None or not isinstance(info.get("version"), str):
        found.add("AcuSim nodes", False, "the server does not have them", NODES_FIX)
        return None
    version = safe_text(info["version"], 40)
    if version == acusim.__version__:
        found.add("AcuSim nodes", True, f"version {version}")
    else:
        found.add("AcuSim nodes", False, f"version {version}, this program is {acusim.__version__}", NODES_FIX)
    return info


def _check_graph(found: Inspection, binding: Binding, recipe: Recipe) -> None:
    faults = [fault for fault in binding.faults if fault.setting not in MODELS]
    for fault in faults:
        found.add(fault.name, False, fault.found, fault.fix)
    if not faults:
        kinds = {node.kind for node in binding.workflow.nodes.values()}
        found.add("nodes", True, f"all {len(kinds)} classes, with all their values")
    if binding.free_settings:
        fix = "nothing to do if this is intended; else give the nodes the titles that docs/guide/comfyui.md lists"
        found.add("settings", None, f"the workflow itself decides {', '.join(binding.free_settings)}", fix)


def _check_models(found: Inspection, client: Client, binding: Binding, recipe: Recipe) -> None:
    tensors: dict[str, Mapping[str, Any]] = {}
    for setting, model in MODELS.items():
        place = binding.workflow.place(setting)
        if place is None or place[0].kind not in binding.known_classes:
            continue
        name = getattr(recipe, setting)
        fault = next((fault for fault in binding.faults if fault.setting == setting), None)
        if fault:
            fitting = fitting_files(client, binding, setting, recipe, tensors)
            use = f"use one that is on the server: {set_option(setting, fitting[0])}; or " if fitting else ""
            source = download_source(setting, recipe)
            fix = f"{use}put {name} into ComfyUI's models/{model.folder}: {source}; {fault.fix}"
            found.add(setting, False, f"{name} is not on the server", fix)
            continue
        try:
            facts = client.model_facts(model.key, binding.value(place)) or {}
            shapes, fix = facts.get("tensors"), "use a .safetensors file"
            reason = safe_text(facts.get("error") or "the server gives no reason", 200)
        except ServerError as error:
            shapes, fix, reason = None, error.advice or "update the AcuSim nodes", str(error)
        if not isinstance(shapes, dict):
            found.add(setting, None, f"{name} is on the server; its kind is unknown: {reason}", fix)
            continue
        tensors[setting] = shapes
        ok, kind = check_model(setting, shapes, recipe, tensors)
        fix = suggest_fix(client, binding, setting, recipe, tensors) if not ok else ""
        found.add(setting, ok, f"{name}, {kind}", fix)


def _check_transport(
    found: Inspection, client: Client, info: Mapping[str, Any] | None, setup: Setup, staging: Staging | None
) -> None:
    if info is None:
        found.add("transport", False, "the server does not report its roots", NODES_FIX)
        return
    roots = parse_roots(info)
    try:
        wanted = setup.of(ComfyUIOptions).transport
        why = "--transport remote" if wanted == "remote" else why_not_shared(client, roots, setup.dataset, setup.output)
    except EngineError as error:
        found.add("transport", False, str(error), "choose an output folder that can be written")
        return
    fix = f"start ComfyUI with {roots_setting(roots, setup.dataset, setup.output)}"
    data, out = locate(roots, setup.dataset, False), setup.output and locate(roots, setup.output, True)
    if not why and data and out and staging:
        found.transport = Shared(client, staging, (data[0].name, data[1]), (out[0].name, out[1]))
        found.add("transport", True, f"shared folders, through roots {data[0].name!r} and {out[0].name!r}")
        target = out[0]
    elif wanted == "shared":
        found.add("transport", False, f"shared folders do not work: {why}", fix)
        return
    else:
        found.transport = Remote(client, client.token)
        avoidable = wanted == "auto" and setup.output is not None and is_local(client.url)
        found.add(
            "transport", None if avoidable else True, f"upload and download: {why}", f"{fix} to avoid the copying"
        )
        target = next((root for root in roots if root.name == "output"), None)
    if target is not None and target.free_bytes is not None:
        found.checks.append(_disk_space(f"disk of root {target.name!r}", target.free_bytes))


def _check_queue(found: Inspection, client: Client) -> None:
    try:
        foreign = [entry for entry in client.queue() if not entry.token or entry.token != client.token]
    except ServerError as error:
        found.add("queue", False, str(error), error.advice or "see above")
        return
    if foreign:
        fix = "nothing to do; ours wait behind them"
        found.add("queue", None, f"{len(foreign)} prompts of others run or wait", fix)
    else:
        found.add("queue", True, "no prompts of others")
