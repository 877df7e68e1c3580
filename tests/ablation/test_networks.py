"""The configs of the tables' networks: equal but for what a table compares."""

import pathlib

import pytest

from configs.ablation import street_scenes
from configs.paper import table1_explicit, table1_hierarchical, table1_single
from hmsa_jax.ablation import networks, tables
from hmsa_jax.config import schema
from hmsa_jax.inference import protocol

WORKDIR = pathlib.Path("/tables")


def fields(name, seed=0):
    config = street_scenes.get_config()
    made = networks.config_of(config, networks.NETWORKS[name], WORKDIR, seed)
    schema.check(made)
    assert schema.flatten(config)["data.pool.name"] == "street_scenes_coarse"  # left as it was
    return schema.flatten(made)


def differing(one, other):
    return {name for name in one if one[name] != other[name]}


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("single", "hierarchical", {"model.attention", "objective.scales", "evaluate.protocols"}),
        ("explicit", "hierarchical", {"model.attention", "objective.scales", "evaluate.protocols"}),
        ("single", "single_coarse", {"data.pool.name"}),
        ("hierarchical_coarse", "hierarchical_auto", {"data.pool.name", "data.pool.dir"}),
    ],
)
def test_networks_differ_in_what_the_table_compares(name, other, expected):
    assert differing(fields(name), fields(other)) == expected


def test_labels_of_a_teacher_are_no_built_pool():
    pool = {"data.pool.name": "cityscapes_coarse", "data.pool.built": "abc"}
    config = schema.override(street_scenes.get_config(), pool)
    config = schema.override(street_scenes.get_config(), pool)
    of_teacher = networks.config_of(config, networks.NETWORKS["single_auto"], WORKDIR, 0)
    assert of_teacher.data.pool.built == ""
    coarse = networks.config_of(config, networks.NETWORKS["single_coarse"], WORKDIR, 0)
    assert coarse.data.pool.built == "abc"


def test_each_seed_has_its_own_labels():
    one, other = fields("single_auto", 1), fields("single_auto", 2)
    assert differing(one, other) == {"seed", "data.pool.dir"}
    assert one["data.pool.dir"] == "/tables/seed-1/labels"


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("single", table1_single),
        ("explicit", table1_explicit),
        ("hierarchical", table1_hierarchical),
    ],
)
def test_methods_are_those_of_the_papers_configs(name, paper):
    config, method = schema.flatten(paper.get_config()), networks.METHODS[name]
    for field in ("model.attention", "objective.scales"):
        assert method[field] == config[field]
    assert set(config["evaluate.protocols"]) <= set(method["evaluate.protocols"])


def test_each_row_is_scored_by_its_network():
    for table in tables.TABLES:
        for row in table.rows:
            method = networks.METHODS[networks.NETWORKS[row.network].method]
            assert row.protocol in method["evaluate.protocols"]
            fusion = protocol.parse(row.protocol).fusion
            assert fusion.attention in (None, method["model.attention"])


def test_teachers_have_attention_and_no_labels_of_a_teacher():
    assert networks.TEACHERS == ("hierarchical", "hierarchical_coarse")
