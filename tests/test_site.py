"""The site asks no other host, its links lead somewhere, and the explorer computes what torch computes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from scipy.optimize import Bounds, LinearConstraint, milp

from robexpl import attacks, ecco, metrics, models
from robexpl.pipeline import explorer, site
from robexpl.study import sizes
from robexpl.study.places import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LONG = 90_000  # milliseconds until a search must have ended, on a busy machine
DONE = re.compile("^From ")
SIDE = 28


def rows(*values: Any) -> list:
    return [np.asarray(value, np.float64).tolist() for value in values]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The explorer as it is made where no data are found: nothing is downloaded for it."""
    empty = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_DATA", str(empty))
        patch.setenv("XDG_CACHE_HOME", str(empty))
        made = site.Site()
        site.explore(made)
    path = tmp_path_factory.mktemp("alone") / "saved page.html"
    path.write_bytes(made.made["explorer.html"])
    return SimpleNamespace(path=path, text=path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, made by the command."""
    return build(tmp_path_factory.mktemp("site") / "site")


def build(folder: Path) -> Path:
    env = {name: value for name, value in os.environ.items() if name != "ROBEXPL_GENERATED"}
    command = [sys.executable, "-m", "robexpl.pipeline", "site", "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=env | {"PYTHONHASHSEED": "random"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; .ci/browser installs one")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def opened(browser: Browser, path: Path, fragment: str = "", **options: Any) -> Page:
    """Open a page from its file; what it says on the console and asks for is in `page.said` and `page.asked`."""
    page = browser.new_context(bypass_csp=True, **options).new_page()
    page.set_default_timeout(LONG)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri() + fragment)
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, small: SimpleNamespace) -> Iterator[Page]:
    """The small explorer, its searches not yet started."""
    made = opened(browser, small.path, "#at=0")
    made.evaluate("async () => { window.explorer = await started; }")
    yield made
    assert made.said == []
    made.context.close()


# What needs no browser


def test_eight_bits_move_no_weight_by_more_than_half_a_unit() -> None:
    model = models.mlp(12, 16, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model[0].weight[3] = 0
    arrays, made = explorer.rounded(model)
    moved = (made[0].weight - model[0].weight).abs().detach().numpy()
    assert (moved <= arrays["scale"][:, None] / 2 * (1 + 1e-6)).all()
    assert moved.max() > 0
    assert np.abs(arrays["w1"]).max() == 127
    assert torch.equal(made[2].weight, model[2].weight)


def test_only_perceptrons_with_one_hidden_layer_are_taken() -> None:
    with pytest.raises(ValueError, match="expected a perceptron with one hidden layer for the explorer, got 3 layers"):
        explorer.exact(models.mlp(4, [3, 3], 2))


def test_digits_are_enlarged_into_the_middle() -> None:
    x = torch.zeros(2, 64)
    x[0] = 1
    images = explorer.larger(x)
    assert images.shape == (2, SIDE, SIDE)
    torch.testing.assert_close(images[0, 4:24, 4:24], torch.ones(20, 20))
    assert float(images.sum()) == pytest.approx(400)


def test_formulas_become_mathml_and_headings_can_be_linked() -> None:
    html = site.markdown("# The *answer*\n\nAs $x^2$ or\n\n$$ \\frac{1}{2\\rho} $$\n\n| a |\n|---|\n| b |\n")
    assert html.count("<math ") == 2
    assert "$" not in html
    assert '<h1 id="the-answer">' in html
    assert "<mfrac>" in html
    assert 'class="wide" tabindex="0"' in site.reachable(html)


def test_links_lead_to_what_the_site_has() -> None:
    made = site.Site()
    html = site.markdown("[a](notebooks/rq1-mnist.ipynb) [b](paper/rules.md) [c](LICENSE) [d](#conditions)")
    links = re.findall('href="([^"]*)"', made.linked(html, "../"))
    assert links == ["../notebooks/rq1-mnist.html", "../rules.html", "../files/LICENSE.txt", "#conditions"]
    assert set(made.made) == {"rules.html", "plan-confirmation.html", "files/LICENSE.txt"}
    with pytest.raises(FileNotFoundError):
        made.linked('<a href="paper/nothing.svg">', "")


def test_docstrings_keep_what_is_typed_and_laid_out() -> None:
    html = site.docstring("Say `a`\nand b < c.\n\nmnist   1\n>>> f(1)\n2\n\nEnd.")
    assert html.splitlines() == [
        "<p>Say <code>a</code> and b &lt; c.</p>", '<pre tabindex="0">mnist   1</pre>',
        '<pre tabindex="0">&gt;&gt;&gt; f(1)', "2</pre>", "<p>End.</p>",
    ]  # fmt: skip


def test_a_page_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected a\.html of at most 400,000 bytes, got 400,001$"):
        site.Site().add("a.html", b" " * 400_001)


def test_without_data_the_explorer_is_whole_and_says_what_it_shows(small: SimpleNamespace) -> None:
    assert len(small.text.encode()) <= 900_000
    assert "Digits of scikit-learn, enlarged" in small.text
    assert "was not measured for this page" in small.text
    assert re.findall(r'(?:src|href)="(?:https?:)?//', small.text) == []


# The explorer computes what torch computes


def of_torch(name: str) -> torch.nn.Sequential:
    return explorer.rounded(models.pretrained("mnist", name))[1]


SEARCH = """([n, x, start, target, how]) => explorer.digits.networks.slice(0, n).map((net) => {
    const found = new Search(net, x, target, how, LOW, HIGH, start).advance(how.steps);
    return { z: Array.from(found.z), step: found.step, probability: found.probability, component: found.component };
})"""


@pytest.mark.parametrize("stop", ecco.STOPS)
@pytest.mark.parametrize("condition", ["as_run", "corrected"])
def test_searches_are_those_of_torch(condition: str, stop: str, page: Page) -> None:
    settings = replace(sizes.condition(condition).search("image"), steps=100)
    generator = torch.Generator().manual_seed(1)
    x = torch.tensor(page.evaluate("() => Array.from(explorer.digits.picked[13])"))
    start = x + settings.start_noise * torch.randn(x.shape, generator=generator)
    how = {"energy": settings.energy, "learningRate": settings.learning_rate, "stop": stop}
    how |= {key: value for key, value in asdict(settings).items() if key not in ("learning_rate", "start_noise")}
    names = list(explorer.NETWORKS["image"])
    for name, got in zip(names, page.evaluate(SEARCH, [len(names), *rows(x, start), 8, how]), strict=True):
        found = ecco.search(
            of_torch(name), x[None], torch.tensor([8]), settings=settings, stop=stop, bounds=(0, 1), start=start[None]
        )
        assert got["step"] == int(found.steps)
        apart = (torch.tensor(got["z"]) - found.x[0]).abs()
        # where l1 sign(z - x) is part of the gradient, rounding may decide on which side of x a pixel is
        step = 0 if settings.proximal else 2 * settings.learning_rate * settings.l1
        assert int((apart > 1e-5).sum()) <= (0 if settings.proximal else 3)
        assert float(apart.max()) <= step + 1e-5
        assert got["probability"] == pytest.approx(float(found.target_prob), abs=1e-5)
        assert got["component"] == pytest.approx(float(found.gradient_max), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.2])
def test_attacks_are_those_of_torch(eps: float, page: Page) -> None:
    x = torch.tensor(page.evaluate("() => explorer.digits.picked.slice(0, 6).map((image) => Array.from(image))"))
    y = torch.tensor(page.evaluate("() => explorer.digits.about.pickedLabels.slice(0, 6)"))
    script = """([i, eps, x, y]) => x.map((image, k) => [fgsm, pgd].map((attack) =>
        Array.from(attack(explorer.digits.networks[i], image, y[k], eps))))"""
    for i, name in enumerate(explorer.NETWORKS["image"]):
        got = torch.tensor(page.evaluate(script, [i, eps, *rows(x), y.tolist()]))
        model, how = of_torch(name), {"eps": eps, "bounds": (0, 1)}
        one = attacks.fgsm(model, x, y, **how)
        steps = {"step_size": 2.5 * eps / 20 or 1, "steps": 20, "start": x}
        many = attacks.pgd(model, x, y, **how, **steps)
        # a gradient that rounds to either side of zero moves a pixel the other way
        for ours, theirs, share in ((got[:, 0], one, 0.001), (got[:, 1], many, 0.01)):
            assert float(((ours - theirs).abs() > 1e-6).double().mean()) <= share


@pytest.mark.slow
def test_implausibility_is_that_of_the_library(page: Page) -> None:
    x = torch.rand(3, SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    script = """(x) => [explorer.digits.banks[8].map(({ image }) => Array.from(image)),
        x.map((image) => imageScore(image, explorer.digits.banks[8], 5))]"""
    bank, got = page.evaluate(script, rows(x)[0])
    bank = torch.tensor(bank)
    wanted = metrics.implausibility(x, 8, bank, torch.full((len(bank),), 8), k=5)
    assert [each["score"] for each in got] == pytest.approx(wanted.tolist(), abs=1e-5)
    assert [each["nearest"] for each in got] == metrics.ssim(x, bank).argmax(1).tolist()
    row, others = [0.0, 1.0], [[0.0, 0.0], [3.0, 1.0], [0.0, 3.0]]
    assert page.evaluate("([row, bank]) => rowScore(row, bank, 2)", [row, others]) == {"score": 1.5, "nearest": 0}


def closest_by_milp(
    arrays: dict[str, np.ndarray], x: np.ndarray, target: int, low: np.ndarray, high: np.ndarray
) -> float:
    """Return the least ||z - x||_1 at which the target is the likelier class, by mixed-integer programming."""
    w1, b1, w2, b2 = (arrays[name].astype(np.float64) for name in ("w1", "b1", "w2", "b2"))
    (hidden, d), weight, bias = w1.shape, w2[target] - w2[1 - target], b2[1 - target] - b2[target]
    least = b1 + np.minimum(w1 * low, w1 * high).sum(1)
    most = b1 + np.maximum(w1 * low, w1 * high).sum(1)
    at, eye, zero = w1 @ x + b1, np.eye(hidden), np.zeros((hidden, hidden))
    lower, upper = np.minimum(least, 0), np.maximum(most, 0)
    inf = np.full(hidden, np.inf)
    moves = np.concatenate([w1, -w1], 1)  # variables: moves up (d), moves down (d), activations, whether active
    constraints = [
        LinearConstraint(np.concatenate([-moves, eye, zero], 1), at, inf),
        LinearConstraint(np.concatenate([-moves, eye, -np.diag(lower)], 1), -inf, at - lower),
        LinearConstraint(np.concatenate([0 * moves, eye, -np.diag(upper)], 1), -inf, np.zeros(hidden)),
        LinearConstraint(np.concatenate([np.zeros(2 * d), weight, np.zeros(hidden)]), bias, np.inf),
    ]
    cost = np.concatenate([np.ones(2 * d), np.zeros(2 * hidden)])
    box = Bounds(np.zeros(len(cost)), np.concatenate([high - x, x - low, upper, np.ones(hidden)]))
    solved = milp(cost, constraints=constraints, bounds=box, integrality=np.repeat([0, 1], [2 * d + hidden, hidden]))
    return solved.fun if solved.status == 0 else np.inf


@pytest.mark.slow
def test_the_closest_district_is_the_closest(page: Page) -> None:
    script = """([i, x, target, low, high]) => {
        const net = explorer.houses.networks[i], found = closest(net, x, target, low, high);
        return found && { ...found, logits: Array.from(run(net, found.z).logits) };
    }"""
    inputs, generator, tried = models.card("california", "standard")["inputs"], np.random.default_rng(0), 0
    whole = [np.asarray(inputs[key], np.float32).astype(np.float64) for key in ("low", "high")]
    for i, name in enumerate(explorer.NETWORKS["tabular"]):
        arrays = explorer.exact(models.pretrained("california", name))
        for _ in range(12):
            x = np.clip(generator.normal(0, 0.7, 8).astype(np.float32), *whole).astype(np.float64)
            kept = generator.random(8) < 0.2
            low, high = (np.where(kept, x, side) for side in whole)
            logits = arrays["w2"] @ np.maximum(arrays["w1"] @ x + arrays["b1"], 0) + arrays["b2"]
            target = 1 - int(logits.argmax())
            got = page.evaluate(script, [i, x.tolist(), target, low.tolist(), high.tolist()])
            wanted = closest_by_milp(arrays, x, target, low, high)
            if not np.isfinite(wanted):
                assert got is None
                continue
            z = np.array(got["z"])
            assert got["distance"] == pytest.approx(wanted, abs=1e-5)
            assert np.abs(z - x).sum() == pytest.approx(got["distance"], abs=1e-6)
            assert (z >= low - 1e-9).all()
            assert (z <= high + 1e-9).all()
            assert got["logits"][target] >= got["logits"][1 - target] - 1e-5
            tried += 1
    assert tried > 30


@pytest.mark.slow
def test_a_thousand_steps_of_five_networks_take_less_than_three_seconds(page: Page) -> None:
    script = """() => {
        const { digits, about } = explorer, stop = "generator_conditions";
        const how = { ...about.conditions[1].image, stop, tolerance: 1e-9 };
        const nets = digits.networks;
        return nets.map((net) => new Search(net, digits.factual, 8, how, LOW, HIGH).advance(1000).step);
    }"""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # seconds of the processor, not of a busy machine

    def used() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in found if each["name"] == "ThreadTime")

    before = used()
    assert page.evaluate(script) == [1000] * 5
    assert 0.01 < used() - before < 3


# The explorer in the hands of its readers


@pytest.mark.slow
def test_drawing_with_the_mouse_is_kept_in_the_address(browser: Browser, small: SimpleNamespace) -> None:
    page = opened(browser, small.path, viewport={"width": 1200, "height": 900})
    expect(page.locator("#told")).to_have_text(DONE, timeout=LONG)
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 110, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 190, steps=8)
    page.mouse.up()
    expect(page.locator("#told")).to_have_text(re.compile("^From drawing"), timeout=LONG)
    ink = page.evaluate("() => started.then((page) => page.digits.factual.reduce((a, b) => a + b))")
    assert ink > 30
    page.locator("#target").select_option("4")
    page.locator("#stop").select_option("decision_threshold")
    expect(page.locator("#told")).to_have_text(re.compile("^From drawing to 4"), timeout=LONG)
    told, address = page.locator("#told").inner_text(), page.url
    assert "drawing=" in address
    other = opened(browser, small.path, "#" + address.partition("#")[2])
    expect(other.locator("#told")).to_have_text(told, timeout=LONG)
    scheme = "() => document.querySelector('#searches canvas').toDataURL()"
    assert other.evaluate(scheme) == page.evaluate(scheme)
    page.locator("#clear").click()
    expect(page.locator("#told")).to_have_text(re.compile("^From 3 to 4"), timeout=LONG)
    assert page.said + other.said == []
    page.context.close()
    other.context.close()


@pytest.mark.slow
def test_drawing_by_touch_and_by_keyboard(browser: Browser, small: SimpleNamespace) -> None:
    page = opened(browser, small.path, "#at=0", viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page.evaluate("() => started")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    touch = page.context.new_cdp_session(page)
    for kind, y in (("touchStart", 40), ("touchMove", 90), ("touchMove", 150)):
        points = [{"x": box["x"] + 100, "y": box["y"] + y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#told")).to_have_text(re.compile("^From drawing"), timeout=LONG)
    ink = "() => started.then((page) => page.digits.pad.image.reduce((a, b) => a + b))"
    assert page.evaluate(ink) > 10
    page.locator("#clear").click()
    assert page.evaluate(ink) == 0
    page.locator("#pad").focus()
    for key in ("Space", *["ArrowDown"] * 9):
        page.keyboard.press(key)
    assert page.evaluate(ink) > 10
    assert page.said == []
    page.context.close()


@pytest.mark.slow
def test_everything_can_be_done_by_keyboard(browser: Browser, small: SimpleNamespace) -> None:
    page = opened(browser, small.path, "#at=0&stop=decision_threshold")
    page.evaluate("() => started")
    reached: list[str] = []
    page.keyboard.press("Tab")
    for _ in range(120):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        page.keyboard.press("Tab")
    wanted = {"digit", "pad", "clear", "target", "stop", "play", "one", "end", "again", "speed", "eps", "attacker",
              "example", "verdict", "house-condition", "house-stop", "chaos"}  # fmt: skip
    assert wanted - set(reached) == set()
    page.locator("input[name=digit]:checked").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#one").press("Enter")
    assert "digit=14" in page.url
    page.locator("#eps").press("ArrowRight")
    expect(page.locator("#eps-value")).to_have_text("0.11")
    assert "eps=0.11" in page.url
    page.locator("#play").press("Space")
    expect(page.locator("#told")).to_have_text(DONE, timeout=LONG)
    assert page.said == []
    page.context.close()


@pytest.mark.slow
def test_a_district_can_be_changed_and_its_features_kept(browser: Browser, small: SimpleNamespace) -> None:
    page = opened(browser, small.path, "#at=0")
    page.evaluate("() => started")
    page.locator(".features input[type=number]").first.fill("2")
    page.locator(".features input[type=number]").first.press("Tab")
    page.locator(".features input[type=checkbox]").first.check()
    assert "kept=1" in page.url
    for table in page.locator("#houses tbody").all():
        cells = table.locator("tr").first.locator("td").all_inner_texts()
        assert cells == ["2.0"] * 3 or "none" in cells
    page.reload()
    expect(page.locator(".features input[type=checkbox]").first).to_be_checked()
    expect(page.locator(".features input[type=number]").first).to_have_value("2")
    assert page.said == []
    page.context.close()


@pytest.mark.slow
def test_an_address_that_says_nonsense_does_no_harm(browser: Browser, small: SimpleNamespace) -> None:
    nonsense = "#digit=999&target=x&drawing=zz&condition=none&steps=-4&house=1,2&eps=9&attack=no&at=1e9"
    page = opened(browser, small.path, nonsense)
    expect(page.locator("#told")).to_have_text(DONE, timeout=LONG)
    expect(page.locator("#failure")).to_be_hidden()
    assert page.said == []
    page.context.close()


# The site


@pytest.mark.slow
def test_two_builds_are_equal(built: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "again")
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (built, again)]
    assert names[0] == names[1]
    assert [name for name in names[0] if (built / name).read_bytes() != (again / name).read_bytes()] == []


@pytest.mark.slow
def test_every_link_leads_somewhere_and_to_no_other_host(built: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in built.rglob("*.html")}
    assert len(pages) > 30
    for path, text in pages.items():
        assert len(text.encode()) <= (900_000 if path.name == "explorer.html" else 400_000)
        for link in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            if re.match("data:|mailto:", link):
                continue
            assert not re.match("[a-z]+:", link), f"{path.name} leads to {link}"
            name, _, place = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), f"{path.name} leads to {link}"
            if place:
                assert f'id="{place}"' in pages[target], f"{path.name} leads to {link}"
        assert not re.search(r"@import|url\(", text)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_pages_are_silent_and_open_to_all(scheme: str, width: int, browser: Browser, built: Path) -> None:
    names = ["index.html", "explorer.html", "rules.html", "notebooks/rq1-mnist.html", "api/robexpl/metrics.html"]
    for name in names:
        page = opened(browser, built / name, color_scheme=scheme, viewport={"width": width, "height": 900})
        if name == "explorer.html":
            expect(page.locator("#told")).to_have_text(DONE, timeout=LONG)
        assert page.said == [], name
        assert [url for url in page.asked if not url.startswith((built.as_uri(), "data:"))] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
        faults = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
        assert faults == [], name
        page.context.close()


@pytest.mark.slow
def test_the_explorer_allows_itself_no_request(browser: Browser, small: SimpleNamespace) -> None:
    page = browser.new_page()
    page.goto(small.path.as_uri() + "#at=0")
    refused = page.evaluate("() => fetch('data:text/plain,a').then(() => false, () => true)")
    assert refused
    page.close()
