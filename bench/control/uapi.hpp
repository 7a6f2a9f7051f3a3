// SPDX-License-Identifier: MIT
// The driver's ABI. The kernel's header builds command numbers with _IOWR() and does not include
// what defines it.
#pragma once

#include <sys/ioctl.h>

#include <linux/ublk_cmd.h>
