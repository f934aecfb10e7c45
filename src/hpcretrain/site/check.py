"""All that is checked at a site, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Callable

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.site import access, limits
from hpcretrain.site.asked import every_class
from hpcretrain.site.facts import Site
from hpcretrain.site.inference import inference
from hpcretrain.site.item import Item
from hpcretrain.site.node import node, spool
from hpcretrain.site.preemption import preemption


def check(terms: ClusterProfile, site: Site, expand: Callable[[str], list[str]]) -> list[Item]:
    """What is fine, what is wrong and what cannot be seen.

    Args:
        terms: What the site's profile says.
        site: What was seen.
        expand: Gives the names in one of Slurm's host lists; `ValueError` if it is none.
    """
    classes = every_class(terms, site)
    items = [*access.commands(terms, site), *access.accounting(terms, site)]
    for asked in classes:
        items += access.admission(asked, site)
    items += preemption(terms, site)
    items += limits.sizes(terms, site)
    for asked in classes:
        items += limits.of_class(terms, asked, site)
    items += inference(terms, classes, site, expand)
    items.append(spool(terms, site))
    for asked in classes:
        items += node(terms, asked, site)
    return items
