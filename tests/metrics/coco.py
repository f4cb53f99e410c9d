"""Random label maps with scores, and pycocotools' opinion of them."""

import numpy as np

SIDE = 48


def random_images(seed, n_images=3):
    """Return truth, found and scores (with ties) of some images, ids in any order."""
    rng = np.random.default_rng(seed)
    return [one_image(rng) for _ in range(n_images)]


def one_image(rng):
    truth, found = np.zeros((2, SIDE, SIDE), np.int32)
    ids = rng.permutation(np.arange(1, 200))
    y, x = np.mgrid[:SIDE, :SIDE]
    for index in range(rng.integers(3, 12)):
        cy, cx, ry, rx = (*rng.uniform(4, SIDE - 4, 2), *rng.uniform(2, 6, 2))
        truth[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = ids[index]
        cy, cx = np.add((cy, cx), rng.normal(0, 1, 2))
        if rng.random() < 0.85:
            found[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = ids[-index - 1]
    n_found = len(np.unique(found)) - 1
    return truth, found, np.round(rng.uniform(0, 1, n_found), 1)


def coco_precisions(images):
    """Return pycocotools' average precision at .5, .55, ... .95."""
    import contextlib  # noqa: PLC0415
    import io  # noqa: PLC0415

    from pycocotools import mask  # noqa: PLC0415
    from pycocotools.coco import COCO  # noqa: PLC0415
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    def encoded(labels, index):
        rle = mask.encode(np.asfortranarray(labels == index, np.uint8))
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    truths, results = [], []
    for image_id, (truth, found, scores) in enumerate(images, 1):
        common = {"image_id": image_id, "category_id": 1}
        truths += [
            common
            | {"segmentation": encoded(truth, i), "iscrowd": 0, "bbox": [0, 0, 1, 1]}
            | {"area": int((truth == i).sum()), "id": 1000 * image_id + int(i)}
            for i in np.unique(truth[truth > 0])
        ]
        results += [
            common | {"segmentation": encoded(found, i), "score": float(score)}
            for i, score in zip(np.unique(found[found > 0]), scores, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": i, "height": SIDE, "width": SIDE}
                for i in range(1, len(images) + 1)
            ],
            "categories": [{"id": 1}],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.maxDets = [10_000]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 0].mean(axis=1).tolist()
