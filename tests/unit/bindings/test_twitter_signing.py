"""Signatures of OAuth 1.0a, checked with published examples."""

from __future__ import annotations

import re

from dapr_sidecar.components.bindings.twitter_signing import Keys, authorization

NAMED = re.compile(r'oauth_signature="([^"]*)"')


def test_the_example_of_the_service() -> None:
    header = authorization(
        "post",
        "https://api.twitter.com/1/statuses/update.json",
        {
            "include_entities": "true",
            "status": "Hello Ladies + Gentlemen, a signed OAuth request!",
        },
        Keys(
            "xvz1evFS4wEEPTGEFPHBog",
            "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        ),
        nonce="kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        seconds=1318622958,
    )
    assert NAMED.findall(header) == ["tnnArxj06cWHq44gCs1OSKk%2FjLY%3D"]
    assert header.startswith('OAuth oauth_consumer_key="xvz1evFS4wEEPTGEFPHBog", oauth_nonce="')


def test_the_example_of_the_specification() -> None:
    header = authorization(
        "GET",
        "http://photos.example.net/photos",
        {"file": "vacation.jpg", "size": "original"},
        Keys("dpf43f3p2l4k3l03", "kd94hf93k423kf44", "nnch734d00sl2jdk", "pfkkdhi9sl3r4s00"),
        nonce="kllo9940pd9333jh",
        seconds=1191242096,
    )
    assert NAMED.findall(header) == ["tR3%2BTy81lMeYAr%2FFid0kMTYa%2FWM%3D"]


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Keys("secret", "secret", "secret", "secret"))
