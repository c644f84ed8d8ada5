"""Parts of a network by name: those that stay as they are while the others are trained."""

from torch import nn

from acusim.errors import ConfigError, shown


def freeze(module: nn.Module, names: str) -> list[nn.Module]:
    """Takes parts of a module out of training: their parameters have no gradient.

    Args:
        module: a task's trainee.
        names: of modules in it, separated by commas, such as ``network.backbone``; ``network.`` may be left out.

    Returns:
        These modules, which must stay in evaluation mode: their batch statistics and dropout are frozen as well.

    Raises:
        ConfigError: an unknown name, or nothing is left to train.
    """
    known = {name: part for name, part in module.named_modules() if name}
    frozen = []
    for name in filter(None, map(str.strip, names.split(","))):
        part = known.get(name) or known.get(f"network.{name}")
        if part is None:
            most = [one for one in known if one.count(".") <= 2]
            raise ConfigError(f"train.freeze: {shown(name)} is not a part of this network; parts: {', '.join(most)}, …")
        frozen.append(part.requires_grad_(False))
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ConfigError(f"train.freeze = {shown(names)} leaves nothing to train; name fewer parts")
    return frozen
