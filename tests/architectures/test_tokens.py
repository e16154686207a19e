import numpy as np
import pytest
import torch

from skae import Autoencoder, FTTransformer, ViT
from skae.architectures._images import resolve_image_shape
from skae.architectures._tokens import Cells, sine_cosine
from skae.architectures._transformer import Block, without_fused_kernel


def test_patches_of_an_image_are_rectangles_of_its_pixels():
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    layout = ViT(image_shape=(4, 6, 3), patch_size=(2, 3)).layout(72)
    assert layout.grid == (2, 2)
    assert np.array_equal(layout.cells[1].reshape(2, 3, 3), image[:2, 3:])
    assert np.array_equal(layout.cells[2].reshape(2, 3, 3), image[2:, :3])


@pytest.mark.parametrize(
    ("n_columns", "grid", "n_cells"),
    [(784, (7, 7), 16), (64, (4, 4), 4), (9, (3, 3), 1), (6, (1, 6), 1), (101, (1, 51), 2)],
)
def test_default_patches_make_at_most_64_tokens(n_columns, grid, n_cells):
    layout = ViT().layout(n_columns)
    assert layout.grid == grid
    assert layout.n_cells == n_cells
    assert np.array_equal(np.sort(layout.cells[layout.cells < n_columns]), np.arange(n_columns))


def test_one_number_is_the_length_of_the_patches_of_a_signal():
    assert ViT(image_shape=(1, 12, 2), patch_size=3).layout(24).cells.shape == (4, 6)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, [[0], [1], [2], [3], [4]]),
        (2, [[0, 1], [2, 3], [4, 5]]),  # 5 is no column
        ([[3, 0], [2]], [[3, 0], [2, 5], [1, 5], [4, 5]]),
    ],
)
def test_groups_of_columns(groups, expected):
    assert FTTransformer(groups=groups).layout(5).cells.tolist() == expected


def test_groups_of_very_different_sizes_are_refused():
    with pytest.raises(ValueError, match="make 50001 tokens of up to 50000 columns"):
        FTTransformer(groups=[range(50_000)]).layout(100_000)


def test_many_columns_make_at_most_64_tokens():
    assert FTTransformer().layout(784).cells.shape == (61, 13)


@pytest.mark.parametrize("layout", [ViT().layout(101), FTTransformer(groups=[[4, 0]]).layout(5)])
def test_cells_are_put_back(layout):
    x = torch.randn(3, layout.n_features, generator=torch.Generator().manual_seed(0))
    cells = Cells(layout)
    assert torch.equal(cells.rows(cells(x)), x)
    assert cells(x)[:, cells.is_cell == 0].eq(0).all()


def test_positions_are_sines_and_cosines_of_row_and_column():
    positions = sine_cosine((3, 4), 8).double().numpy()
    token = 2 * 4 + 1  # row 2, column 1
    expected = [np.sin(2), np.sin(0.02), np.cos(2), np.cos(0.02)]
    expected += [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)]
    np.testing.assert_allclose(positions[token], expected, atol=1e-6)
    assert len(np.unique(sine_cosine((1, 64), 6).numpy().round(5), axis=0)) == 64


def test_a_block_is_attention_and_a_perceptron(draws):
    block = Block(6, 2).double()
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    ignored = torch.tensor([[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).double()
    reference = torch.nn.TransformerEncoderLayer(
        6, 2, 24, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    with torch.no_grad():
        reference.self_attn.in_proj_weight.copy_(block.qkv.weight)
        reference.self_attn.in_proj_bias.copy_(block.qkv.bias)
        reference.self_attn.out_proj.load_state_dict(block.out.state_dict())
        reference.linear1.load_state_dict(block.mlp[1].state_dict())
        reference.linear2.load_state_dict(block.mlp[3].state_dict())
    expected = reference(tokens, src_key_padding_mask=ignored.bool())
    bias = (ignored * -1e30)[:, None, None]
    torch.testing.assert_close(block(tokens, bias), expected)
    with without_fused_kernel(block):
        torch.testing.assert_close(block(tokens, bias), expected)


@pytest.mark.parametrize("architecture", [ViT(image_shape=(2, 3)), FTTransformer(groups=[[0, 5]])])
def test_training_starts_at_pca(architecture):
    X = np.random.default_rng(0).normal(size=(60, 6))
    models = [
        Autoencoder(2, architecture=a, random_state=0)._fit_start(X) for a in (architecture, None)
    ]
    codes = [model.transform(X) for model in models]
    np.testing.assert_array_equal(*codes)


def test_a_row_whose_tokens_are_all_ignored_attends_to_all(draws):
    transformer = ViT(width=8, n_layers=1).transformer()
    tokens, ignored = torch.randn(2, 3, 8), torch.tensor([[1.0, 1, 1], [0, 1, 1]])
    result, expected = transformer(tokens, ignored), transformer(tokens)
    torch.testing.assert_close(result[0], expected[0])
    assert not torch.allclose(result[1], expected[1])


def test_rows_are_cut_for_the_cache_in_inference_only(draws, monkeypatch):
    transformer = ViT(width=8, n_layers=1).transformer()
    tokens, ignored = torch.randn(5, 3, 8), torch.zeros(5, 3)
    ignored[:, 0] = 1
    memory = torch.randn(5, 2, 8)
    attending = (tokens, ignored[:, :2], memory)
    whole = transformer(tokens), transformer(tokens, ignored), transformer(*attending)
    monkeypatch.setattr("skae.architectures._transformer.CACHE_ROWS", 2)
    with torch.no_grad():
        parts = transformer(tokens), transformer(tokens, ignored), transformer(*attending)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(*parts[:2])


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (ViT(patch_size=3), r"patch_size=3 does not divide images of 4 x 4 pixels"),
        (ViT(patch_size=(2, 2, 1)), r"patch_size=\(2, 2, 1\) does not divide"),
        (ViT(patch_size=8), r"patch_size=8 does not divide"),
        (ViT(image_shape=(4, 5)), r"image_shape=\(4, 5\) have 20 values, but there are 16"),
        (ViT(image_shape=(4,)), r"image_shape must be \(height, width\)"),
        (ViT(image_shape=(4.0, 4.0)), r"image_shape must be"),
        (ViT(width=10), r"width=10 of ViT is not a multiple of n_heads=4"),
        (FTTransformer(decoder_width=6), r"decoder_width=6 of FTTransformer is not a multiple"),
        (FTTransformer(groups=[[0, 0]]), r"'groups' parameter of FTTransformer must hold lists"),
        (FTTransformer(groups=[[16]]), r"column numbers from 0 to 15"),
        (FTTransformer(groups=[[]]), r"none empty"),
    ],
)
def test_bad_parameters(architecture, message):
    X = np.random.default_rng(0).normal(size=(20, 16))
    with pytest.raises(ValueError, match=message):
        Autoencoder(2, architecture=architecture).fit(X)


def test_image_shapes():
    assert resolve_image_shape(None, 9) == (3, 3, 1)
    assert resolve_image_shape(None, 8) == (1, 8, 1)
    assert resolve_image_shape([2, 2, 3], 12) == (2, 2, 3)
