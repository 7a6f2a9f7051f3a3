# SPDX-License-Identifier: MIT
"""The same situation under other names and in another order: what a verdict must not depend on."""

import json
import random
import re

_ADDRESS = re.compile(r"^0x[0-9a-f]{9,16}$")
_PIDS = ("pid", "tgid", "ublksrv_pid", "ublksrv_tgid", "server_pids")


class Names:
    """One renaming of addresses, pids, devices, queues and tags, for all samples of a dump."""

    def __init__(self, seed, *documents):
        self.chance = random.Random(seed)
        text = json.dumps(documents)
        found = sorted(set(re.findall(r'"(0x[0-9a-f]{9,16})"', text)))
        self.addresses = dict(zip(found, self.permuted(found)))
        pids = sorted({pid for document in documents for pid in self.pids(document)})
        self.numbers = dict(zip(pids, self.permuted(pids)))
        devices = sorted({device["id"] for document in documents for device in document["devices"]})
        self.devices = dict(zip(devices, self.permuted(devices)))
        shapes: dict[tuple[int, int], set[int]] = {}
        for document in documents:
            for device in document["devices"]:
                for queue in device["queues"]:
                    tags = shapes.setdefault((device["id"], queue["id"]), set(range(queue["depth"])))
                    tags |= {io["tag"] for io in queue["ios"]}
        self.queues = {}
        for device in devices:
            ids = sorted(queue for owner, queue in shapes if owner == device)
            self.queues.update({(device, old): new for old, new in zip(ids, self.permuted(ids))})
        self.tags = {place: dict(zip(sorted(tags), self.permuted(sorted(tags)))) for place, tags in shapes.items()}

    def permuted(self, values):
        values = list(values)
        self.chance.shuffle(values)
        return values

    def pids(self, value, key=None):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from self.pids(inner, name)
        elif isinstance(value, list):
            for inner in value:
                yield from self.pids(inner, key)
        elif key in _PIDS and isinstance(value, int) and value > 0:
            yield value

    def scramble(self, document):
        result = self.renamed(json.loads(json.dumps(document)))
        for old, device in sorted(zip(document["devices"], result["devices"]), key=lambda pair: pair[0]["id"]):
            number = old["id"]
            device["id"] = self.devices[number]
            for queue in device["queues"]:
                self.in_queue(queue, self.tags[number, queue["id"]])
                queue["id"] = self.queues[number, queue["id"]]
        for command in result["control_commands"]:
            command["device"] = self.devices.get(command["device"], command["device"])
        self.shuffle(result)
        return result

    def in_queue(self, queue, tags):
        def new(tag):
            return tags.get(tag, tag)

        for io in queue["ios"]:
            io["tag"] = new(io["tag"])
            if io["request"]:
                io["request"]["tag"] = new(io["request"]["tag"])
        if queue["fifo"] and queue["fifo"]["tags"]:
            queue["fifo"]["tags"] = [new(tag) for tag in queue["fifo"]["tags"]]

    def renamed(self, value, key=None):
        if isinstance(value, dict):
            return {name: self.renamed(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.renamed(inner, key) for inner in value]
        if isinstance(value, str) and _ADDRESS.match(value):
            return self.addresses[value]
        if key in _PIDS and isinstance(value, int):
            return self.numbers.get(value, value)
        return value

    def shuffle(self, value, key=None):
        if isinstance(value, dict):
            for name, inner in value.items():
                self.shuffle(inner, name)
        elif isinstance(value, list):
            for inner in value:
                self.shuffle(inner)
            if key in ("users", "requeued", "freeze_waiters") or (value and isinstance(value[0], dict)):
                self.chance.shuffle(value)

    def expected(self, finding):
        """What a finding of the document must be called in the scrambled one."""
        device, queue = finding["device"], finding["queue"]
        tags = finding["tags"]
        if (device, queue) in self.tags:
            tags = [self.tags[device, queue][tag] for tag in tags]
        else:
            tags = [len(tags)]  # of several queues: how many
        return (finding["code"], finding["severity"], self.devices.get(device, device),
                self.queues.get((device, queue), queue), sorted(tags), len(finding["evidence"]))


def plain(finding, device_wide):
    tags = [len(finding["tags"])] if device_wide else finding["tags"]
    return (finding["code"], finding["severity"], finding["device"], finding["queue"], sorted(tags), len(finding["evidence"]))


def compare(case, judge, document, earlier, rounds=3):
    """`document` and `earlier` not judged yet."""
    def copy(value):
        return json.loads(json.dumps(value)) if value is not None else None

    judged = judge(copy(document), copy(earlier))
    for seed in range(rounds):
        names = Names(seed, document, *([earlier] if earlier else []))
        again = judge(names.scramble(document), names.scramble(earlier) if earlier else None)
        case.assertEqual(sorted(map(names.expected, judged["findings"]), key=str),
                         sorted((plain(row, row["queue"] is None) for row in again["findings"]), key=str))
        case.assertEqual(judged["verdict"]["exit_code"], again["verdict"]["exit_code"])
