"""A small typed client of the REST API; needs httpx alone."""

import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from anomalyst.errors import AnomalystError

TRIES, FIRST_WAIT_SECONDS = 6, 0.5  # of a request that the server was too busy for, or lost
AGAIN = (429, 502, 503, 504)
LEARNING_SECONDS = 1800.0  # each judged picture is looked at a few times
POLL_SECONDS = 0.3  # between two looks at a job
OnProgress = Callable[[dict[str, Any]], None]
Good = Sequence[Path | str] | Mapping[str, Sequence[Path | str]]
FeedbackKind = Literal["right", "wrong", "fine", "answer", "up", "down"]


class ServerError(AnomalystError):
    """What the server says is wrong: its status, and its problem as a dict."""

    def __init__(self, status: int, problem: dict[str, Any]):
        super().__init__(problem.get("detail") or problem.get("title") or f"status {status}")
        self.status, self.problem = status, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An inspection as the server keeps it."""

    id: str
    product: str
    state: str
    verdict: str | None
    score: float | None
    p_value: float | None
    regions: list[dict[str, Any]]
    answer: str
    unfit: dict[str, str] | None  # why it cannot be judged: cause, said, like
    whole: dict[str, Any]  # everything the server said

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """From the server's JSON."""
        record = said.get("record") or {}
        words = (record.get("words") or {}).get("text")
        plain = ("id", "product", "state", "verdict", "score", "p_value")
        return cls(
            **{name: said[name] for name in plain},
            regions=record.get("regions", []),
            answer=words or record.get("answer", ""),
            unfit=record.get("unfit"),
            whole=said,
        )


class Client:
    """`with Client("http://127.0.0.1:7860", key="any_...") as bench: bench.inspect(...)`.

    A request that the server was too busy for, or whose answer was lost, is sent again; an
    idempotency key keeps anything from being made twice. Raises ServerError otherwise.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        seconds: float = 120.0,
        ca: Path | str | None = None,
    ):
        """`ca`: a PEM file that vouches for the server's certificate, where no public one does."""
        headers = {"X-API-Key": key} if key else {}
        verify: ssl.SSLContext | bool = True
        if ca is not None:
            verify = ssl.create_default_context(cafile=str(ca))
        url = f"{address.rstrip('/')}/api/v1/"
        self._http = httpx.Client(base_url=url, headers=headers, timeout=seconds, verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def products(self) -> list[dict[str, Any]]:
        """All products."""
        return list(self.request("GET", "products"))

    def product(self, name: str) -> dict[str, Any]:
        """One product."""
        return dict(self.request("GET", f"products/{name}"))

    def teach(
        self,
        name: str,
        good: Good,
        *,
        pose: str = "auto",
        depth_unit: str | None = None,
        thermal_unit: str | None = None,
        rate: float | None = None,
        method: str | None = None,
        on_progress: OnProgress = lambda _: None,
    ) -> dict[str, Any]:
        """Make a product from good pictures, or add them to one that exists; waits for it.

        `on_progress` is told of the job now and then: `done` of `total`, `said`, `state`, `id`.

        `good`: pictures, or sense (image, depth, thermal, audio, series) -> files, of which those
        of one part have one name. The rest says how such files are read, as on the command line.
        """
        known = name in [one["name"] for one in self.products()]
        path = f"products/{name}/references" if known else "products"
        data = {} if known else {"name": name, "pose": pose}
        how = {"depth_unit": depth_unit, "thermal_unit": thermal_unit, "rate": rate,
               "method": method}  # fmt: skip
        data |= {key: str(value) for key, value in how.items() if value is not None}
        by_sense = good if isinstance(good, Mapping) else {"image": good}
        files = [
            ("pictures" if s == "image" else s, one) for s, own in by_sense.items() for one in own
        ]
        job = dict(self._send(path, files, data, uuid.uuid4().hex))
        self.wait_for(job, on_progress)
        return self.product(name)

    def job(self, id: str) -> dict[str, Any]:
        """How far something is that takes long."""
        return dict(self.request("GET", f"jobs/{id}"))

    def cancel(self, id: str) -> dict[str, Any]:
        """Give a job up; its product stays as it was."""
        return dict(self.request("DELETE", f"jobs/{id}"))

    def wait_for(
        self, job: Mapping[str, Any], on_progress: OnProgress = lambda _: None
    ) -> dict[str, Any]:
        """A job's result, once it is done. Raises ServerError if it failed or was cancelled."""
        now = dict(job)
        while now["state"] in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            now = self.job(now["id"])
            on_progress(now)
        if now["state"] != "done":
            said = now["problem"] or f"job {now['id']} was cancelled."
            raise ServerError(422 if now["problem"] else 409, {"detail": said, "job": now})
        return dict(now["result"])

    def versions(self, product: str) -> list[dict[str, Any]]:
        """The last versions of a product, the newest first."""
        return list(self.request("GET", f"products/{product}/versions"))

    def bring_back(self, product: str, number: int) -> dict[str, Any]:
        """The product as it was; what it is now becomes a version."""
        return dict(self._once(f"products/{product}/versions/{number}/restore"))

    def compare(
        self, product: str, before: int, after: int = 0, *, pictures: int = 40
    ) -> dict[str, Any]:
        """Two versions on recent pictures of the record (0: the one that serves)."""
        asked = {"before": before, "after": after, "pictures": pictures}
        path = f"products/{product}/versions/compare"
        return self.wait_for(dict(self._once(path, params=asked)))

    def areas(self, product: str) -> dict[str, Any]:
        """Which places of a product's pictures count."""
        return dict(self.request("GET", f"products/{product}/areas"))

    def set_areas(
        self, product: str, areas: Sequence[Mapping[str, Any]], *, on_product: bool = False
    ) -> dict[str, Any]:
        """Other areas: each with name, use (ignore or roi), and points_xy or mask."""
        said = {"areas": [dict(one) for one in areas], "on_product": on_product}
        path = f"products/{product}/areas"
        return dict(self.request("PUT", path, json=said, timeout=LEARNING_SECONDS))

    def delete_product(self, name: str) -> None:
        """Delete a product."""
        self._request("DELETE", f"products/{name}")

    def inspect(
        self,
        picture: Path | str | Mapping[str, Path | str],
        product: str,
        *,
        question: str | None = None,
        key: str | None = None,
    ) -> Found:
        """Inspect one picture, or one part by several senses: sense -> file.

        `key`: an idempotency key of your own; else one is made.
        """
        by_sense = picture if isinstance(picture, Mapping) else {"picture": picture}
        files = [("picture" if s == "image" else s, one) for s, one in by_sense.items()]
        data = {"product": product} | ({"question": question} if question else {})
        key = key or uuid.uuid4().hex
        return Found.of(self._send("inspections", files, data, key))

    def inspect_many(
        self, pictures: Sequence[Path | str], product: str, *, key: str | None = None
    ) -> list[Found]:
        """Inspect many pictures in one request, and wait for all."""
        data, key = {"product": product, "wait": "true"}, key or uuid.uuid4().hex
        files = [("pictures", one) for one in pictures]
        said = self._send("inspections/batch", files, data, key)
        return [Found.of(one) for one in said["items"]]

    def inspection(self, id: str) -> Found:
        """One that was made before."""
        return Found.of(self.request("GET", f"inspections/{id}"))

    def history(self, **filters: Any) -> Iterator[Found]:
        """Inspections, the newest first: `product=`, `verdict=`, `text=`, `since=`, ..."""
        given = {name: value for name, value in filters.items() if value is not None}
        while True:
            page = self.request("GET", "inspections", params=given)
            yield from (Found.of(one) for one in page["items"])
            if page["next"] is None:
                return
            given["before"] = page["next"]

    def picture(self, id: str, what: Literal["overlay", "heatmap", "picture"] = "overlay") -> bytes:
        """A PNG of an inspection."""
        return self._request("GET", f"inspections/{id}/{what}.png").content

    def report(self, id: str, form: Literal["html", "pdf"] = "pdf") -> bytes:
        """An inspection's report."""
        return self._request("GET", f"inspections/{id}/report.{form}").content

    def ask(self, id: str, question: str) -> str:
        """The answer to a question about an inspection."""
        said = self.request("POST", f"inspections/{id}/turns", json={"question": question})
        return str(said["answer"]["text"])

    def hear(self, id: str, question: str) -> Iterator[str]:
        """The answer, sentence by sentence as it comes."""
        path, body = f"inspections/{id}/turns/stream", {"question": question}
        with self._http.stream("POST", path, json=body) as answer:
            if not answer.is_success:
                answer.read()
                _check(answer)
            event = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == "sentence":
                    yield json.loads(value)["text"]
                elif name == "data" and event == "problem":
                    problem = json.loads(value)
                    raise ServerError(problem["status"], problem)

    def feedback(self, id: str, kind: FeedbackKind, **said: Any) -> dict[str, Any]:
        """Say that a verdict is right or wrong, that places are fine, what an answer should be."""
        return dict(self._once(f"inspections/{id}/feedback", json={"kind": kind, **said}))

    def segment(self, id: str, **asked: Any) -> list[dict[str, Any]]:
        """Up to three masks that are meant, the best first: each `mask` (COCO RLE) and `iou`.

        `points_xy=`, `labels=` (1 on the thing, 0 beside it), `box_xyxy=`, `mask=`, `text=`,
        `view_xyxy=`, in pixels of the picture.
        """
        return list(self.request("POST", f"inspections/{id}/segment", json=asked)["candidates"])

    def keep_mask(self, id: str, mask: Mapping[str, Any], **said: Any) -> dict[str, Any]:
        """Keep a mask (COCO RLE): `what="defect"` or `"part"`, `label=`; `undo` takes it back."""
        body = {"mask": dict(mask), **said}
        return dict(self._once(f"inspections/{id}/masks", json=body))

    def masks(self, id: str) -> list[dict[str, Any]]:
        """The masks that people drew and did not undo, the oldest first."""
        return list(self.request("GET", f"inspections/{id}/masks"))

    def candidates(self, id: str, question: str, count: int = 3) -> dict[str, Any]:
        """2 to `count` different answers to a question, to be ranked."""
        body = {"question": question, "count": count}
        return dict(self._once(f"inspections/{id}/candidates", json=body))

    def rank(self, candidates: str, ranks: Sequence[int]) -> dict[str, Any]:
        """Rank the answers of a set in the order shown: 1 is the best, ties are allowed."""
        body = {"ranks": list(ranks)}
        return dict(self._once(f"candidates/{candidates}/ranking", json=body))

    def undo(self, correction: str) -> dict[str, Any]:
        """Take feedback back."""
        return dict(self._once(f"feedback/{correction}/undo"))

    def learn(self, product: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Learn threshold and head from what people judged; figures before and after."""
        path, asked = f"products/{product}/learn", {"dry_run": dry_run}
        return dict(self._once(path, params=asked, timeout=LEARNING_SECONDS))

    def unlearn(self, product: str) -> dict[str, Any]:
        """The product as it was before `learn`."""
        path = f"products/{product}/unlearn"
        return dict(self._once(path, timeout=LEARNING_SECONDS))

    def decide_odd(
        self, product: str, *, leave_out: Sequence[int] = (), keep: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Leave good pictures out that look odd, or keep them; numbers of the product's `odd`."""
        said = {"leave_out": list(leave_out), "keep": list(keep)}
        return dict(self._once(f"products/{product}/odd", json=said))

    def measuring(self, product: str) -> dict[str, Any]:
        """Scale and acceptance rules of a product."""
        return dict(self.request("GET", f"products/{product}/measuring"))

    def set_measuring(self, product: str, **wanted: Any) -> dict[str, Any]:
        """Set `rules=[...]` or `scale={"points_xy": [...], "length_mm": 50}`, or forget a scale."""
        return dict(self.request("PUT", f"products/{product}/measuring", json=wanted))

    def statistics(self, product: str) -> dict[str, Any]:
        """Counts, calibration, recent scores and drift of a product."""
        return dict(self.request("GET", f"products/{product}/statistics"))

    def _send(
        self, path: str, files: Sequence[tuple[str, Path | str]], data: Any, key: str = ""
    ) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        with ExitStack() as stack:
            sent = [
                (field, (Path(one).name, stack.enter_context(Path(one).open("rb"))))
                for field, one in files
            ]
            return self.request("POST", path, data=data, files=sent, headers=headers)

    def _once(self, path: str, **request: Any) -> Any:
        """A POST that makes one thing, however often it has to be sent."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self.request("POST", path, headers=headers, **request)

    def request(self, method: str, path: str, **request: Any) -> Any:
        """Any endpoint under /api/v1, by its path; what it answers, as JSON."""
        return self._request(method, path, **request).json()

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Sent again where that cannot do a thing twice."""
        safe = method in ("GET", "DELETE") or "Idempotency-Key" in request.get("headers", ())
        for tried in range(TRIES):
            last = tried == TRIES - 1
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if last or not safe:
                    raise AnomalystError(
                        f"{self._http.base_url}: not reached ({error or type(error).__name__}); is "
                        "`anomalyst serve` running there?"
                    ) from error
            else:
                if answer.status_code not in AGAIN or last:
                    _check(answer)
                    return answer
            time.sleep(FIRST_WAIT_SECONDS * 2**tried)
            for _, (_, file) in request.get("files") or []:
                file.seek(0)
        raise AssertionError("the last try returns or raises")


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    raise ServerError(answer.status_code, problem if isinstance(problem, dict) else {})
