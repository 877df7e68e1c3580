"""Pages as text: what they say, that names stay names, and that nothing is fetched."""

import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import class_iou, mean_iou
from hmsa_jax.report.page import gallery, page, table, thumbnail
from tests.report import example_page as example

VOID = {"meta", "img"}


class Reader(html.parser.HTMLParser):
    """Collects tags with their attributes, the texts of cells, and what scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.scripts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def one():
    return Reader(example.page())


def test_every_tag_is_closed_and_names_stay_names(one):
    assert not one.open
    assert len(one.all("script")) == 2  # the matrices, and what the page does
    assert not any("broken" in script for script in one.scripts)
    assert not [a for _, a in one.tags if "onerror" in a]
    assert {*example.NAMES} <= set(one.cells)
    labels = {attributes.get("aria-label", "") for attributes in one.all("article")}
    assert labels == set(example.IMAGES)


def test_nothing_is_fetched(one):
    for _, attributes in one.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    text = example.page()
    assert "url(" not in text
    assert not set(re.findall(r"https?://[\w./]+", text)) - {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_it_can_be_read_aloud(one):
    assert one.all("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(one.all(landmark)) == 1
    assert all(attributes.get("alt") for attributes in one.all("img") if "src" in attributes)
    assert len(one.all("caption")) == len(one.all("table")) >= 4
    assert all(attributes.get("role") == "img" for attributes in one.all("svg"))
    assert len(one.all("svg")) == sum(name == "title" for name, _ in one.tags) - 1 - len(
        re.findall("><title>", example.page())
    )
    ids = [attributes["id"] for _, attributes in one.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in one.all("a")} <= set(ids)


def test_scores_are_those_of_the_counts(one):
    confusions = example.reported().scores.confusions
    for protocol in example.PROTOCOLS:
        total = confusions.totals[protocol]
        for iou in class_iou(total):
            assert f"{100 * iou:.1f}" in one.cells
    first, second = (mean_iou(confusions.totals[name]) for name in example.PROTOCOLS)
    assert f"{100 * (second - first):+.1f}" in one.cells
    resampled = confusions.resampled
    ends = bootstrap.interval(resampled[example.PROTOCOLS[1]] - resampled[example.PROTOCOLS[0]])
    assert "{:+.1f} to {:+.1f}".format(*(100 * end for end in ends)) in one.cells
    (matrices,) = (json.loads(text) for text in one.scripts if text.startswith("{"))
    totals = [confusions.totals[name].tolist() for name in example.PROTOCOLS]
    assert matrices == {"choices": totals[::-1]}  # the one of the images first


def test_runs_stand_side_by_side():
    runs = example.reported("a run"), example.reported("another", seed=1)
    read = Reader(example.page(*runs))
    first, second = (run.scores.confusions for run in runs)
    for protocol in example.PROTOCOLS:
        beyond = mean_iou(second.totals[protocol]) - mean_iou(first.totals[protocol])
        assert f"{100 * beyond:+.1f}" in read.cells
    assert {"a run, mIoU %", "another, mIoU %"} <= set(read.cells)
    (matrices,) = (json.loads(text) for text in read.scripts if text.startswith("{"))
    assert len(matrices["choices"]) == 4


def test_a_run_without_scores_has_a_page_that_says_so():
    run = example.reported()
    run.scores = run.shares = None
    text = example.page(run, protocol=None, cards=[])
    assert "There is no evaluation yet" in text
    assert 'id="images"' not in text
    run.rows = []
    assert "There is no log of a training." in example.page(run, protocol=None, cards=[])


def test_without_images_the_page_says_why():
    text = example.page(cards=[], remark="No images are shown: they are gone.")
    assert '<p class="warning" role="note">No images are shown: they are gone.</p>' in text


def pixels(picture):
    data = base64.b64decode(picture.source.removeprefix("data:image/webp;base64,"))
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert image.shape == (picture.height, picture.width, 3)
    return image


def test_thumbnails():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    label[0] = 255
    colours = np.array([*example.PALETTE, (9, 9, 9)], np.uint8)
    drawn = thumbnail.classes(label, colours)
    assert drawn.is_drawn
    np.testing.assert_array_equal(pixels(drawn)[1:], colours[label[1:]])
    assert not pixels(drawn)[0].any()
    predicted = label.copy()
    predicted[:, :7] = (label[:, :7] + 1) % 4
    wrong = pixels(thumbnail.errors(label, predicted, 4))
    kinds = {tuple(colour) for colour in wrong.reshape(-1, 3)}
    assert len(kinds) == 3
    assert (wrong[1:, :7] == wrong[5, 5]).all()
    assert (wrong[1:, 7:] == wrong[5, 9]).all()
    large = np.full((1000, 2000, 3), (200, 90, 30), np.uint8)
    photograph = thumbnail.photograph(large)
    assert (photograph.width, photograph.height) == (512, 256)
    assert np.abs(pixels(photograph).astype(int) - large[0, 0]).max() < 12
    share = thumbnail.share(np.full((3000, 30), 128, np.uint8))
    assert (share.width, share.height) == (3, 256)
    assert np.abs(pixels(share).astype(int) - 128).max() < 8


def test_cells_of_figures():
    best = [cell.is_best for cell in table.best_of([1.0, 3.04, float("nan"), 3.0])]
    assert best == [False, True, False, True]
    assert [cell.is_best for cell in table.best_of([2.0, 1.0], min)] == [False, True]
    assert not any(cell.is_best for cell in table.best_of([0.0, 0.0]))
    assert [cell.text for cell in table.best_of([-0.04, -0.06])] == ["0.0", "-0.1"]


def test_a_gallery_without_figures_has_no_order():
    card = gallery.Card("a", {"image": example.cards()[0].pictures["image"]}, {0: 12.5, 2: None})
    text = gallery.gallery([card], example.NAMES, example.PALETTE, unit=" % of the pixels")
    read = Reader(text)
    assert {attributes["name"] for attributes in read.all("select")} == {"class"}
    (shown,) = (attributes for attributes in read.all("li") if "data-classes" in attributes)
    assert json.loads(shown["data-classes"]) == {"0": 12.5, "2": None}


def test_pieces_escape_what_they_are_given():
    nasty = "<b>'\"&amp;</b>"
    pieces = [
        page.text(nasty),
        page.facts({nasty: nasty}, code=[nasty]),
        page.folded(nasty, page.text(nasty)),
        table.table(nasty, [nasty], [[nasty, nasty]]),
    ]
    text = page.render(nasty, [page.Section("a", nasty, [page.beside(*pieces)])], lead=nasty)
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") >= 12


def test_the_page_says_what_was_counted():

    run = example.reported()
    read = Reader(example.page(run))
    total = run.scores.confusions.totals[example.PROTOCOLS[1]]
    for label in range(3):
        for predicted in np.flatnonzero(total[label]):
            assert f"{100 * total[label, predicted] / total[label].sum():.1f}" in read.cells
    assert "4.2" in read.cells  # the calibration error, which the file has in percent
    # 18 of 20 by the probabilities, 19 of 20 right
    assert "95.0 % right at a confidence of 90.0 %" in example.page(run)
