import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from msde.method.parallel import for_blocks, single_threaded_products


def product_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@given(st.integers(0, 200), st.integers(1, 50))
def test_every_row_is_in_one_block(n, step):
    visits = np.zeros(n, dtype=int)

    def visit(block):
        assert block.stop - block.start <= step
        visits[block] += 1

    for_blocks(visit, n, step)
    np.testing.assert_array_equal(visits, 1)


def test_an_error_in_a_block_is_raised():
    def fail(block):
        raise ValueError(str(block.start))

    with pytest.raises(ValueError, match="0"):
        for_blocks(fail, 10, 3)


def test_products_take_one_thread_until_the_last_of_several_jobs_ends():
    before = product_threads()
    one, other = single_threaded_products(), single_threaded_products()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert product_threads() == {1}
    other.__exit__(None, None, None)
    assert product_threads() == before
