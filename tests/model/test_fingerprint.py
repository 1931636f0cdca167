from msde.model.fingerprint import Fingerprint

IMAGES = [bytes([i]) * 32 for i in range(10)]


def test_known_images_are_counted():
    assert Fingerprint.of(IMAGES[:6]).count_known(IMAGES[4:]) == 2


def test_the_pool_is_known_too():
    fingerprint = Fingerprint.of(IMAGES[:3], IMAGES[3:6])
    assert fingerprint.n_normals == 3
    assert fingerprint.count_known(IMAGES) == 6


def test_no_images_are_none_known():
    assert Fingerprint.of(IMAGES).count_known([]) == 0


def test_two_fingerprints_of_the_same_images_share_nothing():
    one, other = Fingerprint.of(IMAGES), Fingerprint.of(IMAGES)
    assert not set(one.digests.tolist()) & set(other.digests.tolist())


def test_the_order_of_the_images_does_not_matter(monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "00" * 16)
    assert Fingerprint.of(IMAGES).sha256 == Fingerprint.of(IMAGES[::-1]).sha256


def test_the_pool_is_told_from_the_normals():
    fingerprint = Fingerprint.of(IMAGES[:3], IMAGES[2:6])
    assert fingerprint.count_pooled(IMAGES) == 4
    assert fingerprint.count_pooled(IMAGES[:2]) == 0
    assert Fingerprint.of(IMAGES).count_pooled(IMAGES) == 0
