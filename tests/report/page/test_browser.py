"""The page in a browser: what is filtered, keys, phones, the dark, paper, and names that are code.

It takes chromium, chromedriver and selenium, and is skipped where they are not.
"""

import base64
import dataclasses
import re

import pytest

from hmsa_jax.report.page import gallery
from hmsa_jax.report.page import page as page_lib
from tests.browser import opened
from tests.report import example_page as example

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select


@pytest.fixture(scope="module")
def browser():
    with opened() as driver:
        yield driver


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(example.page())
    return path.as_uri()


@pytest.fixture
def page(browser, file):
    """The page, freshly opened on a wide screen."""
    resize(browser, 1280)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.get(file)
    return browser


def resize(browser, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def shown(page):
    """The numbers of the images that are shown, in their order."""
    cards = page.find_elements(By.CSS_SELECTOR, ".card")
    titles = [card.find_element(By.TAG_NAME, "h3").text for card in cards if card.is_displayed()]
    return [example.IMAGES.index(title) for title in titles]


def choose(page, name, index):
    Select(page.find_element(By.NAME, name)).select_by_index(index)


def press(page, *keys):
    for key in keys:
        page.switch_to.active_element.send_keys(key)


def alt(page):
    return page.find_element(By.CSS_SELECTOR, "dialog > img").get_attribute("alt")


def test_names_are_text_and_nothing_fails(page):
    assert page.execute_script("return window.broken") is None
    assert not page.get_log("browser")
    options = Select(page.find_element(By.NAME, "class")).options
    assert [option.text for option in options] == ["all", *example.NAMES]
    assert page.find_element(By.TAG_NAME, "h1").text == f"run {example.SCRIPT}"
    assert page.title == f"run {example.SCRIPT}"
    text = page.find_element(By.TAG_NAME, "svg").get_attribute("textContent")
    assert "loss: 0.375" in text


def test_images_are_filtered_and_sorted(page):
    means = [card.number for card in example.cards()]
    assert means == sorted(means)
    worst_first = [example.IMAGES.index(card.name) for card in example.cards()]
    assert shown(page) == worst_first
    choose(page, "order", 1)
    assert shown(page) == worst_first[::-1]
    choose(page, "class", 2)  # in the last two images alone
    assert sorted(shown(page)) == [4, 5]
    assert page.find_element(By.TAG_NAME, "output").text == "2 of 6 images"
    choose(page, "which", 1)
    assert shown(page) == [4]
    choose(page, "class", 3)
    choose(page, "order", 2)
    assert shown(page) == [2]  # the only one where the sky is worst
    assert "sky: 5.0 %" in page.find_element(By.CSS_SELECTOR, ".card:not([hidden]) .about").text
    choose(page, "which", 0)
    assert shown(page) == [2, 3, 4, 1, 0, 5]
    choose(page, "class", 0)
    assert shown(page) == worst_first


def test_groups_are_chosen_and_the_first_order_comes_back(browser, tmp_path):
    order, groups, by_number = [3, 0, 5, 1, 4, 2], ("train", example.SCRIPT), example.cards()
    cards = [
        dataclasses.replace(by_number[i], group=groups[i % 2], name=example.IMAGES[i])
        for i in order
    ]
    options = {"figure": "share", "number": "ignored", "first": "odd first", "group": "Split"}
    shown_cards = gallery.gallery(cards, example.NAMES, example.PALETTE, **options)
    path = tmp_path / "page.html"
    path.write_text(page_lib.render("a", [page_lib.Section("a", "A", [shown_cards])]))
    browser.get(path.as_uri())
    assert shown(browser) == order
    choose(browser, "order", 1)
    assert shown(browser) == sorted(order)
    choose(browser, "group", 1)  # of the first card
    assert shown(browser) == [1, 3, 5]
    choose(browser, "order", 0)
    assert shown(browser) == [3, 5, 1]
    choose(browser, "class", 2)
    assert [1 in card.by_class for card in by_number] == [False, True, False, False, False, True]
    assert shown(browser) == [5, 1]
    assert browser.find_element(By.TAG_NAME, "output").text == "2 of 6 images"
    assert browser.execute_script("return window.broken") is None


def test_all_can_be_done_with_keys(page):
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("class") == "skip"
    assert page.switch_to.active_element.is_displayed()
    page.find_element(By.NAME, "order").send_keys("")  # goes to the last control
    press(page, Keys.TAB)
    focused = page.switch_to.active_element
    assert focused.get_attribute("class") == "picture"
    assert focused.value_of_css_property("outline-style") == "solid"
    first, second = (card.name for card in example.cards()[:2])
    press(page, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.find_element(By.TAG_NAME, "dialog").is_displayed()
    assert alt(page) == f"label of {first}"
    press(page, Keys.ARROW_RIGHT)
    assert alt(page) == f"errors of {first}"
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert alt(page) == f"errors of {second}"
    press(page, Keys.ARROW_LEFT, Keys.ESCAPE)
    assert not page.find_element(By.TAG_NAME, "dialog").is_displayed()
    focused = page.switch_to.active_element.find_element(By.TAG_NAME, "img")
    assert focused.get_attribute("alt") == f"label of {second}"
    press(page, Keys.TAB)  # to the next image, not to its next picture
    focused = page.switch_to.active_element.find_element(By.TAG_NAME, "img")
    assert focused.get_attribute("alt") == f"image of {example.cards()[2].name}"


def test_a_click_enlarges_and_closes(page):
    page.find_elements(By.CSS_SELECTOR, ".picture")[1].click()
    assert alt(page).startswith("label of ")
    large = page.find_element(By.CSS_SELECTOR, "dialog > img")
    assert large.size["width"] > 600
    page.find_element(By.CSS_SELECTOR, "[data-go='1']").click()
    assert alt(page).startswith("errors of ")
    page.find_element(By.CSS_SELECTOR, "[data-close]").click()
    assert not large.is_displayed()


def test_a_matrix_is_chosen(page):
    totals = example.reported().scores.confusions.totals

    def cells():
        found = page.find_elements(By.CSS_SELECTOR, ".matrix tbody td")
        return [cell.get_attribute("title") for cell in found]

    for index, protocol in ((0, example.PROTOCOLS[1]), (1, example.PROTOCOLS[0])):
        choose(page, "choice", index)
        assert cells() == [f"{count} pixels" for count in totals[protocol].ravel()]
        row = totals[protocol][0]
        cell = page.find_element(By.CSS_SELECTOR, ".matrix tbody td")
        assert cell.text == f"{100 * row[0] / row.sum():.1f}"


def test_a_phone_scrolls_down_only(page):
    resize(page, 360)
    page.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    for element in page.find_elements(By.CSS_SELECTOR, "section > *, .controls > *, .picture"):
        box = element.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 361
    page.find_element(By.CSS_SELECTOR, ".picture").click()
    assert page.find_element(By.CSS_SELECTOR, "dialog").rect["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out(page, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    paper = rgb(page.find_element(By.TAG_NAME, "body"), "background-color")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    for css in ("h1", ".lead", "nav a", ".hint", "caption", "td strong"):
        assert contrast(rgb(page.find_element(By.CSS_SELECTOR, css), "color"), paper) >= 4.5, css
    cell = page.find_element(By.CSS_SELECTOR, ".matrix td[title]")
    page.execute_script("arguments[0].style.setProperty('--part', '100')", cell)
    dense = rgb(cell, "background-color", paper)
    assert contrast(dense, paper) > 1.5
    assert contrast(rgb(cell, "color"), dense) >= 4.5
    words = rgb(page.find_element(By.CSS_SELECTOR, "svg .ink"), "fill")
    assert (luminance(words) > 0.5) == (scheme == "dark")


def rgb(element, property, below=(0, 0, 0)):
    """A colour as it is seen over another one, from 0 to 1."""
    text = element.value_of_css_property(property)
    *parts, alpha = [*map(float, re.findall(r"[\d.]+", text)), 1.0][:4]
    parts = parts if text.startswith("color(") else [part / 255 for part in parts]
    return [alpha * part + (1 - alpha) * under for part, under in zip(parts, below, strict=True)]


def luminance(colour):
    """Relative luminance (WCAG 2.2)."""
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in colour]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    """Contrast ratio; words need 4.5 (WCAG 2.2, 1.4.3)."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def test_paper_has_all_but_the_controls(page):
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for css in ("nav", ".controls", ".hint"):
        assert not page.find_element(By.CSS_SELECTOR, css).is_displayed()
    assert page.find_element(By.CSS_SELECTOR, "svg").is_displayed()
    assert len(shown(page)) == 6
    assert page.execute_script(
        "return [...document.querySelectorAll('details')].every(e => e.open)"
    )


def test_without_javascript_all_is_there(browser, file):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(file)
        assert len(shown(browser)) == 6
        assert not browser.find_element(By.CSS_SELECTOR, ".controls").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
