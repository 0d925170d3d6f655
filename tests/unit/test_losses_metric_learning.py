"""Losses of pytorch-metric-learning: they compute what they do by themselves, and say what they cannot do."""

import sys
from typing import Any

import pytest
import torch

from finetuner.errors import OptionError
from finetuner.losses import MetricLearning, Relations, make_objective
from finetuner.losses.metric_learning import _triplets
from finetuner.losses.metric_learning_options import OF_CLASSES, OF_PAIRS, OF_PROXIES, REFUSED
from tests.loss_batches import at_random, classes, slope

losses: Any = pytest.importorskip("pytorch_metric_learning.losses")
NEEDED: dict[str, dict[str, Any]] = {"RankedListLoss": {"margin": 0.4, "Tn": 1}}
ONE_SIDED = {"LiftedStructureLoss"}  # the negatives of a positive are an anchor's, and it is none


def made(name: str, *, dim: int = 4, groups: int | None = 3) -> MetricLearning:
    """Return a loss with the options that it cannot be without."""
    return MetricLearning(name, NEEDED.get(name, {}), dim=dim, groups=groups)


def test_every_loss_of_the_package_is_known() -> None:
    """Each class can be had, or it is refused with a reason; a new one of the package shows here."""
    modules = {"BaseLossWrapper", "BaseMetricLossFunction", "GenericPairLoss"}
    modules |= {"EmbeddingRegularizerMixin", "WeightRegularizerMixin"}
    there = {name for name, one in vars(losses).items() if isinstance(one, type)} - modules
    assert there == OF_PAIRS | OF_CLASSES | OF_PROXIES | set(REFUSED)


@pytest.mark.parametrize("name", sorted((OF_PAIRS | OF_CLASSES) - ONE_SIDED))
def test_it_is_what_the_package_computes_from_classes(name: str) -> None:
    """Masks that come from classes give the value and the gradient that the package finds by itself."""
    unit, relations = classes(3, 12, 4)
    value = made(name)(unit, unit, relations)
    expected = getattr(losses, name)(**NEEDED.get(name, {}))(unit, relations.groups)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope(value, unit), slope(expected, unit))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package's, about numpy
@pytest.mark.parametrize("name", sorted(OF_PROXIES))
def test_proxies_are_parameters_of_the_objective(name: str) -> None:
    """Number of classes and dimension are filled in; contents and proxies have gradients, and anchors as they ask."""
    unit, relations = classes(3, 12, 4)
    objective = made(name).double()
    queries = unit.flip(1)
    value = objective(queries, unit.detach(), relations)
    torch.testing.assert_close(value, objective.loss(queries, relations.groups))
    value.backward()
    assert [set(one.shape) >= {4} for one in objective.parameters()] == [True]
    assert all(one.grad is not None and one.grad.isfinite().all() for one in objective.parameters())
    assert unit.grad is not None
    assert unit.grad.count_nonzero() > 0


@pytest.mark.parametrize("name", sorted(OF_PAIRS))
def test_unknown_pairs_get_no_gradient(name: str) -> None:
    """A content that is unknown to every anchor is not moved, nor one by itself; others are, with finite slopes."""
    _, relations = at_random(0, anchors=4, contents=9)
    random = torch.Generator().manual_seed(0)
    queries, contents = (torch.randn(rows, 4, generator=random, requires_grad=True) for rows in (4, 9))
    relations.positive[:, 3] = relations.negative[:, 3] = False
    gradient = slope(made(name, groups=None)(queries, contents, relations), contents)
    assert gradient[3].count_nonzero() == 0
    assert gradient.count_nonzero() > 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", sorted(OF_PAIRS | OF_CLASSES))
@pytest.mark.parametrize("side", ["positive", "negative", "neither", "no contents"])
def test_one_side_alone_is_zero_with_a_zero_gradient(name: str, side: str) -> None:
    """Without a positive or without a negative no anchor teaches, and nothing moves."""
    rows = 0 if side == "no contents" else 3
    unit = torch.eye(3, 4)[:rows].requires_grad_()
    all_of, none_of = torch.ones(rows, rows, dtype=torch.bool), torch.zeros(rows, rows, dtype=torch.bool)
    positive, negative = (all_of if side == one else none_of for one in ("positive", "negative"))
    groups = torch.zeros(rows, dtype=torch.int64)
    relations = Relations(positive, negative, groups=groups, anchors=torch.arange(rows))
    objective = made(name)
    assert not objective.teaches(relations).any()
    value = objective(unit, unit, relations)
    assert value.item() == 0
    assert slope(value, unit).count_nonzero() == 0


def test_triplets_are_all_positives_with_all_negatives() -> None:
    """Made without pairs of pairs, they are the ones that a loop finds, in its order."""
    _, given = at_random(0)
    expected = [
        (a, p, n)
        for a in range(5)
        for p in given.positive[a].nonzero().flatten().tolist()
        for n in given.negative[a].nonzero().flatten().tolist()
    ]
    assert list(zip(*(one.tolist() for one in _triplets(given)), strict=True)) == expected


def test_options_reach_the_class() -> None:
    """Numbers, also whole ones that came as floats, and distances and reducers by name or with arguments."""
    unit, relations = classes(3, 12, 4)
    distance = {"name": "LpDistance", "power": 2.0}
    objective = make_objective(
        "pml:TripletMarginLoss", {"margin": 0.3, "distance": distance, "reducer": "MeanReducer"}, dim=4
    )
    cosine = unit @ unit.T
    hinge = (2 * (cosine[:, None, :] - cosine[:, :, None]) + 0.3).clamp(min=0)
    expected = hinge[relations.positive[:, :, None] & relations.negative[:, None, :]].mean()
    torch.testing.assert_close(objective(unit, unit, relations), expected)
    soft = make_objective("pml:SoftTripleLoss", {"centers_per_class": 2.0}, dim=4, groups=3)
    assert [tuple(one.shape) for one in soft.parameters()] == [(4, 6)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CircleLoss", {"bogus": 1}, "unknown option 'bogus'; accepted are distance, gamma, m, reducer"),
        ("CircleLoss", {"m": "x"}, "cannot be made of {'m': 'x'}"),
        ("CircleLoss", {"distance": "LpDistance"}, "cannot be made of"),
        ("ContrastiveLoss", {"neg_margin": "x"}, "cannot be computed with these options"),
        ("NTXentLoss", {"temperature": 0}, "is nan with these options"),
        ("RankedListLoss", {}, "missing 2 required positional arguments"),
        ("TripletMarginLoss", {"swap": True}, "unknown option 'swap'"),
        ("TripletMarginLoss", {"distance": 3}, "distance is 3; give a name"),
        ("TripletMarginLoss", {"distance": {"name": "LpDistance", "q": 3}}, "distance: unknown option 'q'"),
        ("ArcFaceLoss", {"num_classes": 3}, "unknown option 'num_classes'"),
        ("VICRegLoss", {}, "cannot be used: it makes pairs by position"),
        ("CircelLoss", {}, "there is no loss 'pml:CircelLoss'; after 'pml:' may come AngularLoss"),
    ],
)
def test_what_cannot_be_is_told_at_once(name: str, options: dict[str, Any], message: str) -> None:
    """Names, options and arguments are refused when the loss is made, not in the first step."""
    with pytest.raises(OptionError) as caught:
        make_objective(f"pml:{name}", options, dim=4, groups=3)
    assert f"loss 'pml:{name}'" in str(caught.value)
    assert message in str(caught.value)


def test_losses_of_classes_need_classes() -> None:
    """Data that has no groups is told so, and what to take."""
    for name in ("ArcFaceLoss", "NCALoss"):
        with pytest.raises(OptionError, match=r"needs classes, and this data has none.*pml:CircleLoss"):
            made(name, groups=None)


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional and imported only when asked for; without it the error says how to install it."""
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    with pytest.raises(OptionError, match=r"pip install 'finetuner\[metric-learning\]'"):
        made("CircleLoss")


def test_matryoshka_has_proxies_for_each_dimension() -> None:
    """Proxies have the dimension of the embeddings that they are held against."""
    objective = make_objective("pml:ProxyNCALoss", {}, matryoshka=[2], dim=4, groups=3)
    assert [tuple(one.shape) for one in objective.parameters()] == [(3, 2), (3, 4)]
    assert objective.uses_groups
