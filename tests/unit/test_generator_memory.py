"""What is said of a training's memory before it begins, and that freed memory is used again."""

import subprocess
import sys

import pytest
import torch

from augrec.core.errors import RefusedError
from augrec.nn.memory import check_memory, memory

CPU = torch.device("cpu")


def test_a_training_may_take_nine_tenths_of_the_memory_and_no_more():
    n_items = memory(CPU) // 4 // 100  # so many items with a hundred numbers each fill it
    check_memory(
        "x.it", CPU, n_items, instead="", learnt=9, averaged=2, batch=22
    )  # 7 × 9 + 2 × 2 + 22 = 89
    with pytest.raises(RefusedError, match="training it for"):
        check_memory("x.it", CPU, n_items, instead="", learnt=9, averaged=2, batch=24)


@pytest.mark.parametrize("part", ["learnt", "averaged", "batch"])
def test_the_error_names_what_is_needed_and_what_is_there(part):
    numbers = {"learnt": 0, "averaged": 0, "batch": 0, part: 10**9}
    with pytest.raises(
        RefusedError,
        match=rf"1,000 items needs about .* GiB, cpu has {memory(CPU) / 2**30:,.1f} GiB",
    ):
        check_memory("x.it", CPU, 1_000, **numbers, instead="")


def test_freed_memory_is_taken_again_without_asking_the_kernel():
    code = (
        "import resource, torch\n"
        "from augrec.nn.memory import keep_freed_memory\n"
        "def pages():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(10): torch.ones(2**24)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "mapped = pages()\n"
        "keep_freed_memory()\n"
        "print(mapped, min(pages() for _ in range(4)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mapped, kept = map(int, done.stdout.split())
    assert kept < mapped / 10, "ten tensors of 64 MiB one after another"
