"""Maps between two versions: what they are fitted to, which one is chosen, what they refuse, how they are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from finetuner.compatibility import Fitted, Kind, Map, Stamped, fit_map
from finetuner.compatibility.linear import corrected, rotation
from finetuner.compatibility.maps import ABOUT, KINDS, WEIGHTS, Layers
from finetuner.compatibility.residual import train
from finetuner.compatibility.stamped import Embeddings, normalised
from finetuner.errors import DamagedVersionError, EncoderError, OptionError, OtherVersionError
from finetuner.models import EncoderSpec, build_encoder
from finetuner.models.heads import HeadSpec


def unit(rows: int, dim: int, seed: int = 0) -> Embeddings:
    """Return random embeddings of length 1."""
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim)))


def turn(dim: int, seed: int = 1) -> NDArray[np.float64]:
    """Return a random rotation, (dim, dim)."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def stretched(old: Embeddings) -> Embeddings:
    """Return embeddings for which two numbers of the old ones count three times as much as the others."""
    weights = np.where(np.arange(old.shape[1]) < 2, 1, 0.35)
    return normalised(old * weights @ turn(old.shape[1]))


def on_a_circle(old: Embeddings) -> Embeddings:
    """Return two numbers: where on a circle the class is, which is the largest of the first six numbers."""
    angle = 2 * np.pi / 6 * old[:, :6].argmax(axis=1)
    return normalised(np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.2 * old[:, 6:8])


def fitted(old: Embeddings, new: Embeddings, *kinds: Kind, seed: int = 0) -> Fitted:
    """Return a map from version v2 to version v1."""
    return fit_map(Stamped("v1", old), Stamped("v2", new), seed=seed, kinds=kinds or KINDS)


def test_a_rotation_is_found_exactly() -> None:
    """Where the new space is the old one turned, new embeddings come back to where the old ones are."""
    old = unit(100, 8)
    made = fitted(old, normalised(old @ turn(8))).map
    asked = unit(20, 8, seed=5)
    back = made.apply(Stamped("v2", normalised(asked @ turn(8))))
    np.testing.assert_allclose(back.vectors, asked, atol=1e-5)


@pytest.mark.parametrize(("old_dim", "new_dim"), [(6, 10), (10, 6)])
def test_dimensions_may_differ(old_dim: int, new_dim: int) -> None:
    """A space within a turned larger one is found in both directions, and comes back to itself."""
    small, large = unit(100, 6), turn(10)[:6]
    old, new = (small, normalised(small @ large)) if old_dim < new_dim else (normalised(small @ large), small)
    made = fitted(old, new, "rotation").map
    assert made.linear.shape == (new_dim, old_dim)
    np.testing.assert_allclose(made.apply(Stamped("v2", new)).vectors, old, atol=1e-5)


def test_a_rotation_has_orthonormal_columns_whatever_it_is_fitted_to() -> None:
    """Of unrelated embeddings, too, the map to the smaller space keeps the lengths of what it keeps."""
    linear = rotation(unit(50, 4), unit(50, 9, seed=1))
    np.testing.assert_allclose(linear.T @ linear, np.eye(4), atol=1e-12)


def test_a_correction_asks_as_the_new_space_does() -> None:
    """Where new = old A, a mapped query x has with an old document the cosine of x and the new one: the map is A'."""
    random = np.random.default_rng(0)
    old = random.normal(size=(5000, 6)).astype(np.float32)
    forward = turn(6) + np.outer(random.normal(size=6), random.normal(size=6))
    new = (old @ forward).astype(np.float32)
    asked = random.normal(size=(30, 6))
    wanted = asked @ new.T
    likeness = [
        np.corrcoef((asked @ linear @ old.T).ravel(), wanted.ravel())[0, 1]
        for linear in (rotation(old, new), corrected(old, new, ridge=1e-9))
    ]
    assert likeness[0] < 0.9
    assert likeness[1] > 0.98


def test_without_data_a_correction_is_none() -> None:
    """A ridge that outweighs everything leaves the rotation, and so do contents that are all the same."""
    old, new = unit(50, 5), unit(50, 5, seed=1)
    np.testing.assert_allclose(corrected(old, new, ridge=1e12), rotation(old, new), atol=1e-9)
    same = np.repeat(old[:1], 20, axis=0)
    np.testing.assert_allclose(corrected(same, same, ridge=0.1), rotation(same, same))


def test_the_simplest_map_that_is_good_enough_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turned space needs a rotation, and no other is tried; a stretched one a correction; a circle a network."""
    monkeypatch.setattr("finetuner.compatibility.residual._STEPS", 100)
    old = unit(400, 8)
    turned = fitted(old, normalised(old @ turn(8)))
    assert (turned.map.kind, set(turned.figures.kept)) == ("rotation", {"old", "unmapped", "rotation"})
    wide = unit(400, 16)
    stretch = fitted(wide, stretched(wide), "rotation", "affine")
    assert stretch.map.kind == "affine"
    assert stretch.figures.kept["affine"] > stretch.figures.kept["rotation"] + 0.03
    circle = fitted(old, on_a_circle(old))
    assert circle.map.kind == "residual"
    assert circle.figures.kept["residual"] > circle.figures.kept["affine"] + 0.1


def test_figures_tell_how_the_choice_went() -> None:
    """A quarter is held out; asking with the old embeddings of a turned space keeps everything, unmapped ones nothing."""
    old = unit(200, 8)
    figures = fitted(old, normalised(old @ turn(8)), "rotation").figures
    assert (figures.contents, figures.held_out, figures.neighbours, figures.ridge) == (200, 50, 10, None)
    assert figures.kept["old"] == pytest.approx(1)
    assert figures.kept["rotation"] == pytest.approx(1)
    assert abs(figures.kept["unmapped"]) < 0.3


def test_the_shift_makes_up_for_what_mapped_cosines_lack() -> None:
    """With the shift, cosines of mapped contents with what they find are on average those that the new space finds."""
    old, others = unit(2000, 8), unit(500, 8, seed=7)
    made = fitted(old, on_a_circle(old), "rotation").map
    queries = made.apply(Stamped("v2", on_a_circle(others))).vectors
    found = np.sort(queries @ old[:500].T, axis=1)[:, -10:].mean()
    wanted = np.sort(on_a_circle(others) @ on_a_circle(old[:500]).T, axis=1)[:, -10:].mean()
    assert wanted - found > 0.05
    assert made.shift == pytest.approx(wanted - found, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_everything(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same embeddings and seed give the same bytes, whatever random numbers others have drawn meanwhile."""
    monkeypatch.setattr("finetuner.compatibility.residual._STEPS", 30)
    old = unit(60, 6)
    one = fitted(old, stretched(old), kind, seed=3)
    torch.manual_seed(99)
    other = fitted(old, stretched(old), kind, seed=3)
    queries = Stamped("v2", unit(10, 6, seed=4))
    assert one.map.apply(queries).vectors.tobytes() == other.map.apply(queries).vectors.tobytes()
    assert one.figures == other.figures


def test_a_network_starts_at_the_linear_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first step the network adds nothing."""
    monkeypatch.setattr("finetuner.compatibility.residual._STEPS", 0)
    linear = turn(6).astype(np.float32)
    kept, layers = train(unit(40, 6), unit(40, 6, seed=1), linear, seed=0)
    assert (kept == linear).all()
    assert not layers.outer.any()


def test_maps_know_their_versions() -> None:
    """A map takes what it is from, gives what it is to, each of length 1, and refuses everything else by a typed error."""
    old = unit(40, 6)
    made = fitted(old, stretched(old), "affine").map
    asked = made.apply(Stamped("v2", unit(5, 6)))
    assert asked.version == "v1"
    np.testing.assert_allclose(np.linalg.norm(asked.vectors, axis=1), 1, rtol=1e-6)
    with pytest.raises(OtherVersionError, match="of version 'v2' are needed, and these are of 'v1'"):
        made.apply(asked)
    with pytest.raises(OptionError, match="have 7 numbers, and it takes 6"):
        made.apply(Stamped("v2", unit(5, 7)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_kept_to_the_last_bit(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded it makes of embeddings what it made before it was saved, and knows its versions."""
    monkeypatch.setattr("finetuner.compatibility.residual._STEPS", 30)
    old = unit(40, 6)
    made = fitted(old, stretched(old), kind).map
    made.save(tmp_path / "map")
    loaded = Map.load(tmp_path / "map")
    queries = Stamped("v2", unit(10, 6, seed=4))
    assert made.apply(queries).vectors.tobytes() == loaded.apply(queries).vectors.tobytes()
    assert (loaded.kind, loaded.source, loaded.target, loaded.shift) == (kind, "v2", "v1", made.shift)
    assert {path.name for path in (tmp_path / "map").iterdir()} == {ABOUT, WEIGHTS}


def network(dim: int = 6) -> Map:
    """Return a map with a network, with weights that say nothing."""
    ones = np.ones((6, 3), np.float32)
    layers = Layers(ones, np.ones(3, np.float32), np.ones((3, dim), np.float32))
    return Map("residual", "v2", "v1", np.eye(6, dtype=np.float32), layers)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / ABOUT).unlink(),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-5]),
        lambda folder: (folder / ABOUT).write_text("[]"),
        lambda folder: (folder / ABOUT).write_text(json.dumps({"kind": "residual", "source": "v2"})),
        lambda folder: (folder / ABOUT).write_text(
            json.dumps({"kind": "rotation", "source": "v2", "target": "v1", "shift": 0})
        ),
        lambda folder: network(dim=5).save(folder),
        lambda folder: Map("rotation", "v2", "v1", np.full((6, 6), np.nan, np.float32)).save(folder),
        lambda folder: Map("rotation", "v2", "v1", np.ones(6, np.float32)).save(folder),
    ],
    ids=["missing", "truncated", "a list", "incomplete", "another kind", "shapes", "no numbers", "no matrix"],
)
def test_a_damaged_map_is_refused(spoil: object, tmp_path: Path) -> None:
    """What is no map, or a part of one, or does not fit itself, is a typed error that names the folder."""
    network().save(tmp_path)
    assert Map.load(tmp_path).layers is not None
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(DamagedVersionError, match=f"{tmp_path}: not a map"):
        Map.load(tmp_path)


def test_what_no_map_can_be_fitted_to_is_refused() -> None:
    """Too few contents, other numbers of old and new ones, one version, no kind and an unknown one are option errors."""
    old = unit(40, 6)
    with pytest.raises(OptionError, match="15 old and 15 new embeddings; give both"):
        fitted(old[:15], old[:15])
    with pytest.raises(OptionError, match="40 old and 39 new"):
        fitted(old, old[:39])
    with pytest.raises(OptionError, match="both embeddings are of version 'v1'"):
        fit_map(Stamped("v1", old), Stamped("v1", old), seed=0)
    with pytest.raises(OptionError, match="give at least one of rotation, affine, residual"):
        fit_map(Stamped("v1", old), Stamped("v2", old), seed=0, kinds=[])
    with pytest.raises(OptionError, match=r"kinds is \['spline'\]"):
        fit_map(Stamped("v1", old), Stamped("v2", old), seed=0, kinds=["spline"])  # type: ignore[list-item]


def test_stamped_embeddings_are_sound() -> None:
    """Numbers that are not finite, vectors longer than 1 and other types are refused, and the row is named."""
    bad = unit(5, 4)
    bad[3, 1] = np.nan
    with pytest.raises(EncoderError, match="embedding 3 of version 'v1' has the length nan"):
        Stamped("v1", bad)
    with pytest.raises(EncoderError, match="embedding 0 of version 'v1' has the length 2"):
        Stamped("v1", 2 * unit(5, 4))
    with pytest.raises(OptionError, match=r"are float64 \(5, 4\)"):
        Stamped("v1", unit(5, 4).astype(np.float64))


def test_an_adapter_for_queries_leaves_documents_as_they_were() -> None:
    """With it documents have the same bytes as without, and queries have not."""
    encoder = build_encoder(EncoderSpec("mlp"))
    images = np.random.default_rng(0).random((20, 28, 28), dtype=np.float32)
    before = encoder.embed(images)
    encoder.heads.append(HeadSpec("adapter", 32, 32, queries_only=True))
    with torch.no_grad():
        for parameter in encoder.heads.parameters():
            parameter.fill_(0.1)
    assert encoder.embed(images, side="document").tobytes() == before.tobytes()
    assert not np.allclose(encoder.embed(images, side="query"), before)
