"""The explorer: what a network says of a picture, the server, and the page in a browser."""

import contextlib
import dataclasses
import io
import json
import re
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra explore is not installed")

from starlette.testclient import TestClient

import hmsa_jax
from configs import street_scenes
from data.label_spec import LabelSpec
from hmsa_jax.experiment import experiment, run_directory
from hmsa_jax.explorer import serving
from hmsa_jax.explorer.desk import Desk, FullError
from hmsa_jax.explorer.look import canvas_of, look
from hmsa_jax.explorer.server import MOST_WAITING, Explorer
from hmsa_jax.training import checkpoint
from tests import browser

pytestmark = pytest.mark.usefixtures("short_trunk")

PROTOCOL = "hierarchical:0.5,1"
EVIL = '<script>alert("x")</script>[red]'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with drawn weights, one of whose classes has a name that is code elsewhere."""
    config = street_scenes.get_config()
    config.model.update(
        trunk="short", ocr_channels=16, ocr_key_channels=8, head_channels=8, dtype="float32"
    )
    config.optimizer.ema_decay = 0.0
    assembled = experiment.assemble(config)
    directory = tmp_path_factory.mktemp("explored") / "run"
    run_directory.claim(directory, config, assembled.label_spec)
    with checkpoint.Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 1)
    opened = hmsa_jax.load_run(directory)
    names = (EVIL, *opened.classes[1:])
    label_spec = LabelSpec.of_train_ids(names, opened.label_spec.palette)
    return dataclasses.replace(opened, label_spec=label_spec)


def a_picture(rows=40, columns=60, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return image, data.getvalue()


@pytest.fixture(scope="module")
def explorer(run):
    return Explorer(run, most_bytes=2**20, most_pixels=100_000)


@pytest.fixture(scope="module")
def client(explorer):
    """Calls the server; at the end nothing is left to be looked at."""
    client = TestClient(explorer.app({"testserver"}))
    yield client
    looked_at(client, a_picture()[1])


def looked_at(client, data, query=f"protocol={PROTOCOL}&name=a.png"):
    """The number and the state of a picture that is handed in, when it is done."""
    number = client.post(f"/looks?{query}", content=data).json()["number"]
    for _ in range(600):
        state = client.get(f"/looks/{number}").json()
        if state["state"] in ("done", "failed"):
            return number, state
        time.sleep(0.05)
    pytest.fail(f"it takes too long: {state}")


def pixels(answer):
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.fixture(scope="module")
def seen(client):
    """A picture, its number, and what is to be seen in it."""
    image, data = a_picture()
    number, state = looked_at(client, data)
    assert state["state"] == "done"
    return image, number, state


def test_a_prediction_is_that_of_the_run(run, client, seen):
    image, number, state = seen
    assert (state["rows"], state["columns"], state["scales"]) == (40, 60, [0.5, 1.0])
    expected = run.predict(image, protocol=PROTOCOL, flip=False)
    ids = pixels(client.get(f"/looks/{number}/mask.png"))
    assert (ids == expected).mean() > 0.999  # classes of one logit but for rounding
    colored = client.get(f"/looks/{number}/prediction.png").content
    palette = np.array(run.label_spec.palette)
    rgb = np.asarray(Image.open(io.BytesIO(colored)).convert("RGB"))
    np.testing.assert_array_equal(rgb, palette[ids])
    np.testing.assert_array_equal(pixels(client.get(f"/looks/{number}/image.png")), image)


def test_shares_of_a_pixel_and_the_chain_that_makes_them(run, client, seen):
    image, number, _ = seen
    said = client.get(f"/looks/{number}/pixel?row=7&column=9").json()
    output = run.outputs(image, protocol=PROTOCOL, flip=False)
    logits = np.asarray(output.logits)[0, 7, 9].astype(float)
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(said["probabilities"], powers / powers.sum(), atol=1e-5)
    low, high = said["scales"]
    assert low["share"] + high["share"] == pytest.approx(1)
    assert low["attention"] == pytest.approx(low["share"])
    assert "attention" not in high
    share = pixels(client.get(f"/looks/{number}/share-0.5.png"))
    assert share[7, 9] == pytest.approx(255 * low["share"], abs=1)


def test_a_scale_that_alone_has_weight_decides(client, seen):
    _, number, _ = seen
    weights = json.dumps({"0.5": 0, "1": 2})
    alone = client.get(f"/looks/{number}/prediction.png", params={"weights": weights}).content
    assert alone == client.get(f"/looks/{number}/scale-1.png").content
    said = client.get(
        f"/looks/{number}/pixel", params={"row": 7, "column": 9, "weights": weights}
    ).json()
    assert [scale["share"] for scale in said["scales"]] == [0, 1]
    np.testing.assert_allclose(said["probabilities"], said["scales"][1]["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("pixel?row=40&column=0", 400, "pixel 40, 0 of a picture of 40 x 60"),
        ("pixel?row=x&column=0", 400, "invalid literal"),
        ("pixel?row=1&column=1&weights=[]", 400, "expected scale -> number"),
        ('prediction.png?weights={"0.5":0,"1":0}', 400, "expected one from 0 on for each scale"),
        ('prediction.png?weights={"0.5":-1,"1":1}', 400, "expected one from 0 on"),
        ('prediction.png?weights={"1":1}', 400, "for each scale"),
        ("share-3.png", 400, "scale 3 is none of"),
        ("scale-x.png", 400, "could not convert"),
        ("secret.png", 404, "no layer 'secret'"),
    ],
)
def test_what_cannot_be_asked_of_a_look_is_said(client, seen, address, status, words):
    answer = client.get(f"/looks/{seen[1]}/{address}")
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "query", "status", "words"),
    [
        (b"hello", "", 415, "expected a JPEG, PNG, TIFF, WebP or BMP file"),
        (b"", "", 400, "the file is empty"),
        (b"x" * (2**20 + 1), "", 413, "the file is larger; expected a picture of at most 1 MiB"),
        (a_picture(400, 400)[1], "", 413, "0.2 megapixels"),
        (a_picture()[1], "protocol=hierarchical:2", 400, "expected METHOD:SCALES, like"),
        (a_picture()[1], "protocol=explicit:0.5,1", 400, "hierarchical"),
        (a_picture()[1], "protocol=average:1,300", 400, "scales are [300.0]; expected some of"),
    ],
)
def test_a_bad_upload_is_a_message(client, data, query, status, words):
    data = data[:2000] if status == 413 and words.startswith("0.2") else data  # the header will do
    answer = client.post(f"/looks?{query}", content=data)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_a_damaged_picture_fails_with_a_message_and_the_next_is_looked_at(client, seen):
    _, data = a_picture(seed=1)
    _, state = looked_at(client, data[: len(data) // 2])
    assert state["state"] == "failed"
    assert "damaged" in state["message"] or "cannot" in state["message"]
    assert looked_at(client, data)[1]["state"] == "done"


def test_other_pages_and_other_names_are_refused(client, seen):
    for headers in (
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "elsewhere.example"},
    ):
        answer = client.get(f"/looks/{seen[1]}", headers=headers)
        assert answer.status_code == 403
    for headers in (
        {"origin": "http://testserver"},
        {"host": "testserver:9000", "origin": "http://testserver:9000"},  # forwarded from there
    ):
        answer = client.get("/", headers=headers)
        assert answer.status_code == 200
    headers = {"host": "testserver:9000", "origin": "http://testserver:8000"}
    assert client.get("/", headers=headers).status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_names_are_text_on_the_page(client):
    text = client.get("/").text
    assert EVIL not in text
    assert "&lt;script&gt;" in text
    facts = re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(facts)["classes"][0] == EVIL


def test_so_many_wait_and_the_next_is_refused():
    gate, entered = threading.Event(), threading.Event()

    def slow(say):
        entered.set()
        gate.wait()
        raise ValueError("no matter")

    desk = Desk(2, 2**30)
    first = desk.hand_in("first", slow)
    assert entered.wait(10)
    waiting = [desk.hand_in(name, slow) for name in ("second", "third")]
    assert [desk.before(job) for job in (first, *waiting)] == [0, 1, 2]
    with pytest.raises(FullError, match="2 pictures wait already"):
        desk.hand_in("fourth", slow)
    gate.set()


def test_old_looks_make_room_and_say_so(run):
    image, _ = a_picture()
    one = look(run, image, PROTOCOL, False)
    desk = Desk(MOST_WAITING, int(1.5 * one.bytes))
    jobs = [desk.hand_in("x", lambda say: one) for _ in range(3)]
    for _ in range(200):
        if [job.state for job in jobs] == ["gone", "gone", "done"]:
            break
        time.sleep(0.05)
    assert [job.state for job in jobs] == ["gone", "gone", "done"]
    assert "hand it in again" in jobs[0].message


def test_canvases_are_shared_by_like_sizes():
    assert canvas_of((1, 256)) == (32, 256)
    assert canvas_of((33, 129)) == (64, 256)
    assert canvas_of((257, 256)) == (512, 256)


@pytest.mark.parametrize(
    ("port", "most_pixels", "words"),
    [(65536, 1, "--port is 65536"), (0, 0, "--most_pixels is 0")],
)
def test_flags_that_cannot_be_are_refused(port, most_pixels, words):
    with pytest.raises(ValueError, match=words):
        serving.check(port, most_pixels)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.2", {"localhost", "127.0.0.1", "[::1]", "127.0.0.2"}),
        ("::1", {"localhost", "127.0.0.1", "[::1]"}),
        ("0.0.0.0", None),
    ],
)
def test_the_address_that_is_shown_is_answered(host, names, monkeypatch):
    """And any, where others may reach the server."""
    import uvicorn

    asked = []
    monkeypatch.setattr(
        "hmsa_jax.explorer.server.Explorer",
        lambda *args: SimpleNamespace(app=asked.append),
    )
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    serving.serve(SimpleNamespace(directory="r"), host, 0, most_pixels=1, excuse=str)
    assert asked == [names]


def test_scales_are_written_in_full_and_those_that_are_fixed_are_named(run):
    config = run.config.copy_and_resolve_references()
    config.model.attention = "explicit"
    config.objective.scales = (1 / 3, 1.0)
    own = SimpleNamespace(label_spec=run.label_spec, config=config, directory="r", step=1)
    text = TestClient(Explorer(own, 1, 1).app(None)).get("/").text
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1])
    assert facts["fixed_scales"] == {"explicit": [1 / 3, 1.0]}
    assert re.findall(r'value="([\d.]+)" checked', text) == ["0.3333333333333333", "1"]


def test_a_port_in_use_is_named(run):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1 and {port}, where nobody can listen"):
            serving.serve(run, "127.0.0.1", port, most_pixels=1, excuse=str)


@contextlib.contextmanager
def served(app):
    """The address of a server that runs while the body does."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)


def test_the_page_in_a_browser(run, explorer, tmp_path, seen):
    """Upload, hover, keyboard, phone width, download, a bad upload, ten uploads at once."""
    image, data = a_picture()
    (tmp_path / "my street.png").write_bytes(data)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with browser.opened(downloads=tmp_path / "saved") as page, served(explorer.app(None)) as url:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import WebDriverWait

        def find(name):
            return page.find_element("id", name)

        def wait(condition):
            WebDriverWait(page, 60, 0.05).until(lambda _: condition())

        page.get(url)
        find("scales").find_element(
            "css selector", "input[value='2']"
        ).click()  # 0.5 and 1 are left
        find("flip").click() if find("flip").is_selected() else None
        find("file").send_keys(str(tmp_path / "my street.png"))
        wait(lambda: "my street.png: 60 x 40 pixels" in find("status").text)
        assert EVIL in page.find_element("css selector", ".key").text
        ActionChains(page).move_to_element(find("stage")).perform()
        wait(lambda: find("where").text.startswith("Column"))
        column, line = map(int, re.findall(r"\d+", find("where").text)[:2])
        find("stage").send_keys(Keys.ARROW_LEFT)
        find("stage").send_keys(Keys.SHIFT + Keys.ARROW_DOWN)
        below = f"Column {column - 1}, row {min(line + 10, 39)}"
        wait(lambda: below in find("where").text)
        wait(lambda: "share" in find("pixel").text and "attention" in find("pixel").text)

        page.set_window_size(500, 900)  # as narrow as a window gets; the page is narrower
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        width = page.execute_script("return document.documentElement.scrollWidth")
        assert width <= 360
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

        find("mask").click()
        saved = tmp_path / "saved" / "my street.png"
        wait(saved.exists)
        expected = run.predict(image, protocol=PROTOCOL, flip=False)
        assert (np.asarray(Image.open(saved)) == expected).mean() > 0.999

        find("file").send_keys(str(tmp_path / "bad.png"))
        wait(lambda: "expected a JPEG, PNG" in find("status").text)
        assert "wrong" in find("status").get_attribute("class")

        answers = page.execute_async_script(
            """const [bytes, done] = arguments, body = new Uint8Array(bytes);
            Promise.all([...Array(10)].map(() => fetch("looks?protocol=hierarchical:0.5,1",
              {method: "POST", body}).then((x) => x.status))).then(done);""",
            list(data),
        )
        assert set(answers) <= {200, 503}
        assert answers.count(200) >= MOST_WAITING
        severe = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
        assert all("415" in entry["message"] or "503" in entry["message"] for entry in severe)
