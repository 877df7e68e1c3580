"""The explorer's answers to a browser.

What a browser hands in is read as a picture and as nothing else, and is never written anywhere.
Only pages of this server may ask: requests that another page makes are refused.
"""

import io
import json
import pathlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from hmsa_jax.experiment import protocols
from hmsa_jax.experiment.run import Run
from hmsa_jax.explorer.desk import Desk, FullError, Job
from hmsa_jax.explorer.look import Look, canvas_of, look
from hmsa_jax.inference.protocol import Protocol, text_of
from hmsa_jax.input.any_image import AnyImage
from hmsa_jax.report import templates

MOST_WAITING = 8

_ROOM = pathlib.Path(__file__).parent
_SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # to choose from, besides those of the protocol
_KEPT = 2**31  # bytes of the arrays of the pictures that are kept
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data: blob:; connect-src 'self';"
    " style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """What is asked for cannot be; the message is for whoever asked.

    Args:
      status: of HTTP.
      message: what is wrong, and what to do.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Explorer:
    """Answers for one run.

    Args:
      run: whose network looks at the pictures.
      most_bytes: of a file.
      most_pixels: of a picture.
      excuse: given an error, what a user is told.
    """

    def __init__(
        self,
        run: Run,
        most_bytes: int,
        most_pixels: int,
        excuse: Callable[[Exception], str] = str,
    ):
        self._run, self._most_bytes, self._most_pixels = run, most_bytes, most_pixels
        self._reader = AnyImage()
        own = protocols.of_prediction(None, run.config).scales
        self._scales = sorted({*_SCALES, *own})
        self._desk = Desk(MOST_WAITING, _KEPT, excuse)
        self._seen: set[tuple] = set()  # what has been compiled

    def app(self, hosts: set[str] | None) -> Starlette:
        """The application.

        Args:
          hosts: names by which browsers may call this server; None: any.
        """
        routes = [
            Route("/", self.page),
            Route("/looks", self.hand_in, methods=["POST"]),
            Route("/looks/{number:int}", self.state),
            Route("/looks/{number:int}/pixel", self.pixel),
            Route("/looks/{number:int}/{layer}.png", self.picture),
        ]
        guard = Middleware(BaseHTTPMiddleware, dispatch=Guard(hosts))
        return Starlette(routes=routes, middleware=[guard])

    async def page(self, request: Request) -> Response:
        """The page itself."""
        label_spec, config = self._run.label_spec, self._run.config
        protocol = protocols.of_prediction(None, config)
        methods = protocols.methods_of(config)
        fixed = {name: protocols.fixed_scales(name, config) for name in methods}
        return HTMLResponse(
            templates.render(
                "explorer.html.jinja",
                room=_ROOM,
                run=str(self._run.directory),
                step=self._run.step,
                classes=label_spec.names,
                facts={
                    "colors": [list(color) for color in label_spec.palette],
                    "classes": list(label_spec.names),
                    "most_bytes": self._most_bytes,
                    "fixed_scales": {name: scales for name, scales in fixed.items() if scales},
                },
                most_megabytes=self._most_bytes // 2**20,
                most_megapixels=round(self._most_pixels / 1e6, 1),
                protocol=protocol,
                methods=methods,
                scales={text_of(scale): scale for scale in self._scales},
                flip=config.evaluate.flip,
                style=templates.part("page/page.css") + templates.part("explorer.css", _ROOM),
                script=templates.part("explorer.js", _ROOM),
            )
        )

    async def hand_in(self, request: Request) -> Response:
        """Takes a picture: the body of the request. Answers with the number of the look."""
        query = request.query_params
        text = query.get("protocol")
        way = self._protocol(text)
        flip = query.get("flip") == "1"
        data = await self._body(request)
        size = self._size(data)
        name = pathlib.PurePath(query.get("name") or "picture").name[:100]
        key = (way.name, flip, canvas_of(size))

        def work(say: Callable[[str], None]) -> Look:
            rows, columns = canvas_of(size)
            if key in self._seen:
                say("Looking ...")
            else:
                say(f"Compiling for pictures of up to {columns} x {rows} pixels (once) ...")
            image = self._reader.decode({"image": data})
            seen = look(self._run, image, text, flip)
            self._seen.add(key)
            return seen

        try:
            job = self._desk.hand_in(name, work)
        except FullError as error:
            raise RefusedError(503, str(error)) from error
        return JSONResponse({"number": job.number})

    async def state(self, request: Request) -> Response:
        """How far a look is."""
        job = self._job(request)
        answer: dict[str, Any] = {"state": job.state, "message": job.message, "name": job.name}
        if job.state == "waiting":
            answer["message"] = f"Waiting for {self._desk.before(job)} before it ..."
        if (found := job.found) is not None:
            answer |= {
                "rows": found.image.shape[0],
                "columns": found.image.shape[1],
                "scales": found.scales,
                "has_shares": found.has_shares,
                "protocol": found.protocol.name,
                "seconds": job.seconds,
            }
        return JSONResponse(answer)

    def pixel(self, request: Request) -> Response:
        """How the result of a pixel comes about: see `Look.pixel`."""
        query, found = request.query_params, self._found(request)
        try:
            row, column = int(query.get("row", "")), int(query.get("column", ""))
            return JSONResponse(found.pixel(row, column, _factors(query)))
        except ValueError as error:
            raise RefusedError(400, str(error)) from error

    def picture(self, request: Request) -> Response:
        """A layer of a look as PNG: image, prediction, mask, scale-R or share-R."""
        found, layer = self._found(request), request.path_params["layer"]
        kind, _, scale_text = layer.partition("-")
        try:
            if kind in ("scale", "share"):
                scale = float(scale_text)
                if scale not in found.scales:
                    raise ValueError(f"scale {scale:g} is none of {found.scales}")
            if layer == "image":
                return _png(found.image)
            if kind == "share":
                return _png(found.share(scale))
            if kind == "scale":
                return self._colored(found.of_scale(scale))
            if layer in ("prediction", "mask"):
                classes = found.prediction(_factors(request.query_params))
                return self._mask(request, classes) if layer == "mask" else self._colored(classes)
        except ValueError as error:
            raise RefusedError(400, str(error)) from error
        raise RefusedError(404, f"there is no layer {layer!r}")

    def _mask(self, request: Request, classes: np.ndarray) -> Response:
        """Class ids as `predict` writes them, to be saved under the name of the picture."""
        stem = pathlib.PurePath(self._job(request).name).stem
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_ ") else "_" for c in stem)
        ids = np.frombuffer(self._run.label_spec.class_values, np.uint8)[classes]
        answer = _png(ids)
        answer.headers["Content-Disposition"] = f'attachment; filename="{plain or "mask"}.png"'
        return answer

    def _colored(self, classes: np.ndarray) -> Response:
        """Classes in their colours."""
        picture = Image.fromarray(classes)
        picture.putpalette(np.asarray(self._run.label_spec.palette, np.uint8).tobytes())
        data = io.BytesIO()
        picture.save(data, "PNG", compress_level=1)
        return Response(data.getvalue(), media_type="image/png")

    def _protocol(self, text: str | None) -> Protocol:
        try:
            way = protocols.of_prediction(text, self._run.config)
        except ValueError as error:
            raise RefusedError(400, str(error)) from error
        others = sorted(set(way.scales).difference(self._scales))
        if others:
            raise RefusedError(400, f"scales are {others}; expected some of {self._scales}")
        return way

    async def _body(self, request: Request) -> bytes:
        """What was handed in, of which no more is read than is allowed."""
        limit = f"expected a picture of at most {self._most_bytes // 2**20} MiB"
        received = bytearray()
        async for some in request.stream():
            received += some
            if len(received) > self._most_bytes:
                raise RefusedError(413, f"the file is larger; {limit}")
        if not received:
            raise RefusedError(400, f"the file is empty; {limit}")
        return bytes(received)

    def _size(self, data: bytes) -> tuple[int, int]:
        """Rows and columns of a picture that may be looked at, from its header."""
        try:
            rows, columns = self._reader.size({"image": data})
        except ValueError as error:
            raise RefusedError(415, str(error)) from error
        if rows * columns > self._most_pixels:
            raise RefusedError(
                413,
                f"the picture has {rows * columns / 1e6:.1f} megapixels; expected at most"
                f" {self._most_pixels / 1e6:.1f} (--most_pixels). `predict` takes larger ones.",
            )
        return rows, columns

    def _job(self, request: Request) -> Job:
        try:
            return self._desk.job(request.path_params["number"])
        except KeyError as error:
            raise RefusedError(404, "there is no such look; hand the picture in again") from error

    def _found(self, request: Request) -> Look:
        job = self._job(request)
        if job.found is None:
            status = 410 if job.state == "gone" else 409
            raise RefusedError(status, job.message or "it is not done yet")
        return job.found


class Guard:
    """Refuses what other pages ask for, and puts errors and headers into words.

    Args:
      hosts: names by which browsers may call the server, at any port, since one of another machine
        may lead to it; None: any.
    """

    def __init__(self, hosts: set[str] | None):
        self._hosts = hosts

    async def __call__(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """The answer to a request."""
        try:
            self._check(request)
            response = await answer(request)
        except RefusedError as error:
            response = JSONResponse({"error": str(error)}, error.status)
        except ClientDisconnect:
            response = Response(status_code=400)
        response.headers.update(_HEADERS)
        return response

    def _check(self, request: Request) -> None:
        host = request.headers.get("host", "")
        name = re.sub(r":\d+$", "", host)
        if self._hosts is not None and name not in self._hosts:
            raise RefusedError(403, f"this server is not {name}; it is {sorted(self._hosts)}")
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        if origin not in (None, f"http://{host}") or site not in ("none", "same-origin"):
            raise RefusedError(403, "pages of other servers may not ask this one")


def _factors(query: Mapping[str, str]) -> dict[float, float] | None:
    """The weights in a request, as in `weights={"0.5": 1, "1": 0}`; None without any."""
    text = query.get("weights")
    if not text:
        return None
    try:
        return {float(scale): float(factor) for scale, factor in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"weights are {text!r}; expected scale -> number") from error


def _png(picture: np.ndarray) -> Response:
    """A grey `[H, W]` or RGB `[H, W, 3]` picture."""
    order = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    _, data = cv2.imencode(".png", order, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return Response(data.tobytes(), media_type="image/png")
