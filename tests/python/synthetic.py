# SPDX-License-Identifier: MIT
"""Memory states that this kernel cannot be brought into: a recording of a real one with some members written over."""

import base64
import copy
import itertools
import json
import lzma

import dump_paths  # noqa: F401  (puts the package on the path)

from ublk_drgn import device as devices
from ublk_drgn.errors import Fault
from ublk_drgn.memory import LINE, PAGE
from ublk_drgn.recording import Replay, bits


class Snapshot:
    """Two samples, both the recording's first, so that nothing moves. `change` writes members over in each of them."""

    def __init__(self, recording):
        self.replay = Replay(str(recording))
        self.kernel, self.samples = self.replay.kernel, self.replay.data["samples"]
        self.samples[1:] = [copy.deepcopy(self.samples[0])]
        self.sample = {}

    def each(self, change):
        for number, sample in enumerate(self.samples):
            self.sample = sample
            self.replay.select(number)
            change(self)
        return self

    def write(self, path):
        with lzma.open(path, "wb", preset=0) as file:
            file.write(json.dumps(self.replay.data).encode())

    @property
    def device(self):
        (found,) = devices.all_devices(self.kernel)
        return found

    def queue(self, number=0):
        return self.kernel.view("ublk_queue", devices.queue_addresses(self.kernel, self.device, number + 1)[number])

    def io(self, queue, tag):
        offset, _type, _length = queue.layout.element("ios")
        layout = self.kernel.layout("ublk_io")
        return self.kernel.view("ublk_io", queue.address + offset + tag * layout.size)

    def request(self, queue_number, tag):
        tags = devices.tags_of(self.kernel, self.device, queue_number + 1)[queue_number]
        address = self.kernel.memory.word(tags.need("rqs") + 8 * tag)
        return self.kernel.view("request", address) if address else None

    def in_flight(self, request):
        """Not if it was not recorded: then it was of no interest."""
        try:
            return request.get("state") == 1
        except Fault:
            return False

    def request_queue(self):
        return self.device.follow("ub_disk", "gendisk").follow("queue", "request_queue")

    def set(self, view, **members):
        """Writes over members of a structure; two underscores stand for a dot."""
        for name, value in members.items():
            slot = view.slot(name.replace("__", ".") if view.slot(name) is None else name)
            assert slot is not None and not slot.bits, name
            self.poke(view.address + slot.offset, value, slot.size)

    def poke(self, address, value, size):
        number = address // PAGE
        mask, text = self.sample["pages"][f"{number:x}"]
        data, lines = base64.b64decode(text), bits(int(mask, 16))
        page = {line: data[place * LINE:(place + 1) * LINE] for place, line in enumerate(lines)}
        line, offset = address % PAGE // LINE, address % LINE
        assert line in page and offset + size <= LINE, f"{address:#x} was not recorded"
        raw = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        page[line] = page[line][:offset] + raw + page[line][offset + size:]
        self.sample["pages"][f"{number:x}"] = [mask, base64.b64encode(b"".join(page[at] for at in lines)).decode()]
        self.kernel.memory.forget()

    def put_on_requeue_list(self, *requests):
        """In this order, and nothing else."""
        head = self.request_queue().place("requeue_list")
        nodes = [head, *(request.place("queuelist") for request in requests), head]
        for before, after in itertools.pairwise(nodes):
            self.poke(before, after, 8)

    def sleeps_in(self, task, function):
        """A task that is not stopped any more, and where it sleeps."""
        self.set(task, __state=1)
        self.sample["stacks"][f"{task.address:#x}"] = ["__schedule+0x1", "schedule+0x1", f"{function}+0x1"]
