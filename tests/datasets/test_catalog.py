import re

from msde.datasets.catalog import known_sets, normal_labels, published_counts


def test_the_seven_sets_and_their_published_counts():
    assert published_counts("RSNA") == (3851, 1000, 1000)
    assert published_counts("brats2021") == (4211, 828, 1948)
    assert published_counts("nih_cxr_pneumonia") is None
    seven = {name: known.counts for name, known in known_sets().items() if known.counts}
    assert len(seven) == 7
    assert sum(counts[0] for counts in seven.values()) == 26355


def test_every_archive_has_an_address_and_a_checksum_where_one_is_published():
    for known in known_sets().values():
        assert known.terms
        for archive in known.archives:
            assert archive.url.startswith("https://")
            assert re.fullmatch(r"[\w.-]+\.(tar\.gz|zip|npz)", archive.name)
            assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5)
            assert archive.md5 or known.name == "ISIC2018_Task3"


def test_the_sizes_of_medmnist_share_their_normal_classes():
    assert normal_labels("octmnist") == normal_labels("octmnist_224") == normal_labels("OCTMNIST_64") == ("3",)
    assert normal_labels("bloodmnist_64") == normal_labels("any") == normal_labels("") == ()
    assert {"chestmnist", "chestmnist_64", "chestmnist_128", "chestmnist_224"} <= set(known_sets())
