"""Layers made ready for 8 bits compute what they did, with numbers of more even sizes."""

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, MPNetConfig, MPNetModel

from ibid.embedding.equalising import APART, equalise

SIZES = {"vocab_size": 100, "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
TOKENS = torch.arange(5, 25).reshape(1, 20)
KINDS: dict[str, Callable[[], torch.nn.Module]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES, intermediate_size=128)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES, intermediate_size=128)),
    "another": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=100, dim=64, n_heads=4, n_layers=2, hidden_dim=128)
    ),
}


def uneven(kind: str) -> torch.nn.Module:
    """A model with a channel and units that are far larger than the others."""
    torch.manual_seed(1)
    model = KINDS[kind]().eval()
    for name, weight in model.named_parameters():
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            weight.data[7] *= 40
        if "intermediate.dense.weight" in name:
            weight.data[[3, 100]] *= 60
    return model


def states(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=TOKENS).last_hidden_state
        return found


def spread(model: torch.nn.Module) -> list[float]:
    """For each layer of numbers that is multiplied by weights: its largest number in times a usual one."""
    seen: list[float] = []

    def note(_layer: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        sizes = given[0].abs().flatten(0, -2).amax(0)
        seen.append(float(sizes.max() / sizes.median()))

    hooks = [
        layer.register_forward_pre_hook(note)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and "layer" in name
    ]
    states(model)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_computed_stays(kind: str) -> None:
    model = uneven(kind)
    before = states(model)
    equalise(model, lambda: states(model))
    assert torch.allclose(states(model), before, atol=1e-4 * float(before.abs().max()))


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_numbers_are_more_even(kind: str) -> None:
    model = uneven(kind)
    before = spread(model)
    equalise(model, lambda: states(model))
    after = spread(model)
    assert max(before) > 20
    assert max(after) < max(before) / 3


def test_the_largest_units_are_apart() -> None:
    model = uneven("bert")
    equalise(model, lambda: states(model))
    parts = [layer for name, layer in model.named_modules() if name.endswith("output.dense.large")]
    assert [layer.in_features for layer in parts] == [APART, APART]


def test_another_kind_stays_as_it_is() -> None:
    model = uneven("another")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    equalise(model, lambda: states(model))
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
