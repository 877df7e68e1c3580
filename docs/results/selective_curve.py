"""What the highest scale is worth through windows of several sizes, and what it then costs.

    python docs/results/selective_curve.py RUN OUT.svg

Scores the chain of scales 0.5, 1 and 2 of any run on the split of its config, and prints for each
size of the window the mean IoU, how far that is from the whole chain, with the paired interval,
FLOPs and the time of an image. Then the same window, chosen by other needs than the share.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp

from hmsa_jax.experiment import evaluation, protocols, run_directory, start
from hmsa_jax.experiment.image_work import ImageWork
from hmsa_jax.inference import window
from hmsa_jax.inference.predictor import checked_size
from hmsa_jax.inference.protocol import parse
from hmsa_jax.input import decoding
from hmsa_jax.input.layout import lay_out
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.models.layers.canvas import resize
from hmsa_jax.report import cost_chart
from hmsa_jax.runtime.files import write_atomically

WHOLE, LOWER = "hierarchical:0.5,1,2", "hierarchical:0.5,1"
PERCENT = (10, 25, 34, 50, 75)
SHARE = window.share_of_highest


def difference(outputs, lower, canvas):
    """The total variation between what the two lower scales say, 0 to 1."""
    low, high = (outputs[scale].logits for scale in sorted(lower))
    own, target = (
        canvas.scaled(scale, window.scaled_size).of_features(outputs[scale].logits)
        for scale in sorted(lower)
    )
    low, high = jax.nn.softmax(resize(low, own, target)), jax.nn.softmax(high)
    return target.clear(jnp.abs(low - high).sum(-1, keepdims=True) / 2)[..., 0], target


def doubt(outputs, lower, canvas):
    """1 minus the probability of the class that scale 1 finds most probable."""
    _, target = SHARE(outputs, lower, canvas)
    unsure = 1 - jax.nn.softmax(outputs[max(lower)].logits).max(-1, keepdims=True)
    return target.clear(unsure)[..., 0], target


def times_share(need):
    """The product of a need and the share of the highest scale."""

    def product(outputs, lower, canvas):
        share, target = SHARE(outputs, lower, canvas)
        return share * need(outputs, lower, canvas)[0], target

    return product


NEEDS = {
    "the share of the highest scale": SHARE,
    "share x difference of the lower scales": times_share(difference),
    "share x doubt": times_share(doubt),
    "difference of the lower scales": difference,
    "doubt": doubt,
}


def main(run: pathlib.Path, picture: pathlib.Path, percent: int) -> None:
    ways = [parse(text) for text in (WHOLE, *(f"{WHOLE}@{p}%" for p in reversed(PERCENT)), LOWER)]
    single = parse("single")
    texts = tuple(way.text for way in (*ways, single))
    config = run_directory.resolve(
        run, None, {"evaluate.protocols": texts, "evaluate.metrics": (), "evaluate.flip": False}
    )
    label_spec = evaluation.check_run(config, run, None)
    scored = evaluation.open_scored(config, start.build_data(config))
    with evaluation.restored(config, run, None, label_spec, scored) as (experiment, state):

        def counts():
            score = evaluation.prepare(experiment, scored)
            return score(
                state.eval_params, state.eval_batch_stats, lambda batches: False
            ).confusions

        of_each = protocols.of_evaluation(config)
        size_of = checked_size(decoding.image_size, of_each)
        work = ImageWork(
            experiment, state, lay_out(scored, config.evaluate.canvases, size_of).commonest
        )
        steps = {way.name: work.prediction(way) for way in (*ways, single)}
        flops = {name: work.flops_of(step) for name, step in steps.items()}
        found = counts()
        seconds = work.seconds_of(steps, "predictions")
        print(f"{len(scored)} images, mostly of {work.size}, on {work.machine}")
        shares = table(ways, found, flops, seconds)
        write_atomically(picture, chart(ways, single, found, flops, shares))
        # The same window, chosen by other needs.
        few = (ways[0].text, f"{WHOLE}@{percent}%")
        config.evaluate.protocols = few
        experiment.config.evaluate.protocols = few
        print(f"\n| {percent} % chosen by | mIoU, % | beyond the whole chain | 95 % interval |")
        print("|---|---:|---:|---:|")
        for name, need in NEEDS.items():
            window.share_of_highest = need
            jax.clear_caches()
            row(name, few[1], counts(), "")


def table(ways, found, flops, seconds):
    """Prints a row for each protocol; returns the differences to the whole chain, with ends."""
    print(
        "\n| predicted by | mIoU, % | beyond the whole chain | 95 % interval | FLOPs | time |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    whole = ways[0].name
    return {
        way.name: row(
            way.name,
            way.text,
            found,
            f" {flops[way.name] / flops[whole]:.2f} | {seconds[way.name] / seconds[whole]:.2f} |",
        )
        for way in ways
    }


def row(title, text, found, costs):
    """Prints a row; returns the difference to the whole chain and the ends of its interval."""
    name, whole = parse(text).name, parse(WHOLE).name
    reached, other = (mean_iou(found.totals[each]) for each in (name, whole))
    low, high = bootstrap.interval(found.resampled[name] - found.resampled[whole])
    beyond = f"{100 * (reached - other):+z.2f} | {100 * low:+z.2f} to {100 * high:+z.2f}"
    if name == whole:
        beyond = " | "
    print(f"| {title} | {100 * reached:.2f} | {beyond} |{costs}", flush=True)
    return low, high


def chart(ways, single, found, flops, ends):
    """Mean IoU by FLOPs, as an SVG file."""
    other = mean_iou(found.totals[ways[0].name])

    def point(way):
        low, high = (100 * (other + end) for end in ends[way.name])
        cost = flops[way.name] / flops[single.name]
        reached = 100 * mean_iou(found.totals[way.name])
        return cost_chart.Point(way.name, cost, reached, (low, high))

    return cost_chart.front(
        "Mean IoU, %, by FLOPs in times that of scale 1 alone",
        [point(way) for way in reversed(ways)],
        [],
        [],
        note=f"bars: {bootstrap.PERCENT} % interval of the difference to {ways[0].name}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path, help="directory of a run")
    parser.add_argument("picture", type=pathlib.Path, help="SVG file to write")
    parser.add_argument("--percent", type=int, default=34, help="of the window of other needs")
    arguments = parser.parse_args()
    main(arguments.run, arguments.picture, arguments.percent)
