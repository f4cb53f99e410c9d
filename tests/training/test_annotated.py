import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from segpipe.errors import DatasetError
from segpipe.training.annotated import at_mpp, read_annotated, single_nuclei
from segpipe.training.manifest import read_manifest
from segpipe.training.selecting import select_samples


def test_a_manifest_names_files_beside_it(manifest):
    first, second, *_ = read_manifest(manifest)
    assert first.image == manifest.parent / "im0.png"
    assert first.types is not None
    assert (first.mpp, second.mpp) == (0.5, None)
    assert (first.exact, second.exact) == (True, False)


def test_a_recipe_settles_splits_mpp_and_classes(manifest, recipe):
    train = select_samples(manifest, "train", recipe)
    dev = select_samples(manifest, "dev", recipe)
    assert [s.id for s in train] == ["im0", "im1", "im3"]
    assert [s.id for s in dev] == ["im2"]
    assert {s.mpp for s in train} == {0.5}
    assert [s.classes for s in train] == [(1, 2), (), ()]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mpp": "fine"}, "csv, line 2: .*mpp 'fine'"),
        ({"mpp": "-1"}, "mpp '-1'"),
        ({"labels": ""}, "csv, line 2 lacks labels"),
        (
            {"instances": "exakt"},
            "csv, line 2: .*'exakt'; they are exact .*approximate",
        ),
        ({"set": "plain", "id": "im1"}, "csv, line 3 .* im1 of plain again.* line 2"),
    ],
)
def test_a_wrong_row_is_refused(manifest, edit_manifest, fields, reason):
    edit_manifest(**fields)
    with pytest.raises(DatasetError, match=reason):
        read_manifest(manifest)


def test_a_manifest_without_a_row_or_a_column_is_refused(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("set,id\n")
    with pytest.raises(DatasetError, match="has no row"):
        read_manifest(path)
    path.write_text("set,id\na,b\n")
    with pytest.raises(DatasetError, match="lacks the columns split, image, labels"):
        read_manifest(path)


def test_a_row_with_fewer_or_more_cells_than_columns_is_refused(manifest):
    head, first, *others = manifest.read_text().splitlines(keepends=True)
    for cells, reason in [
        ("typed,im9,train,im0.png\n", "line 3 lacks labels, types"),
        (first.strip() + ",more\n", "line 3 has more cells"),
    ]:
        manifest.write_text("".join([head, *others[:1], cells]))
        with pytest.raises(DatasetError, match=reason):
            read_manifest(manifest)


def test_a_manifest_that_a_spreadsheet_wrote_is_read(manifest):
    samples = read_manifest(manifest)
    text = manifest.read_text().replace(",approximate", ", Approximate ")
    manifest.write_text(text, encoding="utf-8-sig")
    assert read_manifest(manifest) == samples


def test_an_unknown_split_lists_those_there_are(manifest):
    with pytest.raises(DatasetError, match=r"split 'test'.*train of plain"):
        select_samples(manifest, "test")


def test_an_image_of_unknown_resolution_is_refused(manifest):
    with pytest.raises(DatasetError, match="plain im1 has no mpp"):
        select_samples(manifest, "train")


def test_an_image_is_read_as_it_is_stored_whatever_exif_says_of_up(manifest):
    (sample,) = (s for s in read_manifest(manifest) if s.id == "im0")
    straight = cv2.imread(str(sample.image), cv2.IMREAD_COLOR_RGB)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    Image.fromarray(straight).save(sample.image, exif=exif)
    assert not np.array_equal(cv2.imread(str(sample.image)), straight[..., ::-1])
    np.testing.assert_array_equal(read_annotated(sample).image, straight)


def spoiled(manifest, suffix, array):
    cv2.imwrite(str(manifest.parent / f"im0{suffix}.png"), array)
    return select_samples_of(manifest)


def select_samples_of(manifest):
    return read_manifest(manifest)[0]


@pytest.mark.parametrize(
    ("suffix", "array", "reason"),
    [
        ("_types", np.zeros((96, 90), np.uint8), r"\(96, 90\), its image \(96, 96\)"),
        ("_labels", np.zeros((96, 96, 3), np.uint8), "not one plane"),
    ],
)
def test_annotation_of_another_shape_is_refused(manifest, suffix, array, reason):
    with pytest.raises(DatasetError, match=reason):
        read_annotated(spoiled(manifest, suffix, array))


def test_resampling_halves_everything_and_keeps_ids_and_white(manifest):
    annotated = read_annotated(select_samples_of(manifest))
    half = at_mpp(annotated, 1.0)
    assert half.image.shape == (48, 48, 3)
    assert half.labels.shape == half.types.shape == half.reliable.shape == (48, 48)
    assert set(np.unique(half.labels)) <= set(np.unique(annotated.labels))
    assert at_mpp(annotated, 0.5) is annotated


def test_only_round_undivided_pieces_count_as_single_nuclei():
    y, x = np.mgrid[:60, :60]
    disc = (y - 15) ** 2 + (x - 15) ** 2 <= 81
    pair = ((y - 42) ** 2 + (x - 14) ** 2 <= 64) | ((y - 42) ** 2 + (x - 29) ** 2 <= 64)
    split = (y - 20) ** 2 + (x - 45) ** 2 <= 81
    labels = np.where(disc, 1, 0) + np.where(pair, 2, 0)
    labels = np.where(split, np.where(x < 45, 3, 4), labels).astype(np.int32)
    reliable = single_nuclei(labels)
    assert reliable[disc].all()
    assert not reliable[pair].any()
    assert not reliable[split].any()
    assert reliable[labels == 0].all()
