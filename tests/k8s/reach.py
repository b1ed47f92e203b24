"""Who reaches whom, by the rendered NetworkPolicies. What a network plug-in makes of them is not known here."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

Labels = dict[str, str]


@dataclass(frozen=True)
class Peer:
    """A pod, or with an `address` something outside the cluster."""

    namespace: str = ""
    labels: Labels = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class Policies:
    """The policies of one namespace."""

    policies: list[dict]
    namespace: str = "vlmfleet"

    def allow(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Both sides must: the source's egress and the target's ingress."""
        return self._side(source, target, "Egress", "to", (port, protocol)) and self._side(
            target, source, "Ingress", "from", (port, protocol)
        )

    def _side(self, pod: Peer, other: Peer, direction: str, peers: str, port: tuple[int, str]) -> bool:
        if pod.namespace != self.namespace:
            return True
        mine = [
            policy["spec"]
            for policy in self.policies
            if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
        ]
        rules = [rule for spec in mine for rule in spec.get(direction.lower(), ())]
        return not mine or any(self._rule(rule, other, peers, port) for rule in rules)

    def _rule(self, rule: dict, other: Peer, peers: str, port: tuple[int, str]) -> bool:
        ports = [(each["port"], each.get("protocol", "TCP")) for each in rule.get("ports", ())]
        within = not ports or port in ports
        return within and (peers not in rule or any(self._is(peer, other) for peer in rule[peers]))

    def _is(self, peer: dict, other: Peer) -> bool:
        if "ipBlock" in peer:
            return _in_block(peer["ipBlock"], other.address)
        if other.address:
            return False
        if "namespaceSelector" in peer:
            if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
                return False
        elif other.namespace != self.namespace:
            return False
        return selects(peer.get("podSelector", {}), other.labels)


def selects(selector: dict, labels: Labels) -> bool:
    """A Kubernetes label selector; an empty one selects everything."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(_meets(expression, labels) for expression in selector.get("matchExpressions", ()))


def _meets(expression: dict, labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


def _in_block(block: dict, address: str) -> bool:
    if not address:
        return False  # a pod's address is in the private ranges, which every block of ours leaves out
    inside = ip_address(address) in ip_network(block["cidr"])
    return inside and not any(ip_address(address) in ip_network(hole) for hole in block.get("except", ()))
