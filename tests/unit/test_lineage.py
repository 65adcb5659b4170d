"""Which models a synthetic sample went into, by the policies that name it."""

from augrec.versioning.lineage import _models_using

POLICIES = {
    "none": None,
    "mixed": [{"mix": {"sample": "gan"}}],
    "fused": [{"truncate": None}, {"mix": {"samples": {"gan": 0.5, "vae": 0.5}}}],
    "searched": [{"search": {"samples": ["vae", "gan"]}}],
    "extended": [{"extend": {"sample": "vae"}}],
}


def test_models_of_all_policies_that_name_a_generator_count_as_its_users() -> None:
    lock = {f"train@ease-{policy}": {} for policy in POLICIES} | {"evaluate@ease-mixed": {}}
    params = {"policies": POLICIES}
    assert _models_using("gan", lock, params) == ["ease-fused", "ease-mixed", "ease-searched"]
    assert _models_using("vae", lock, params) == ["ease-extended", "ease-fused", "ease-searched"]
    assert _models_using("other", lock, params) == []
