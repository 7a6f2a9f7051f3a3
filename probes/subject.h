/* SPDX-License-Identifier: Dual MIT/GPL */
/* Which devices are looked at: what every probe's BPF side and its reader share. */
#pragma once

/* Devices are chosen by number below this; with all devices there is no limit. */
#define WANTED_DEVICES 4096
