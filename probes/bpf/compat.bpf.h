/* SPDX-License-Identifier: Dual MIT/GPL */
/*
 * What the BPF programs know of the kernel: only the fields that they read, found in the running
 * kernel's BTF by name (CO-RE), wherever they are there. No vmlinux.h: it would be one kernel's.
 */
#ifndef UBLKBENCH_PROBES_COMPAT_BPF_H
#define UBLKBENCH_PROBES_COMPAT_BPF_H

#include <asm/ioctl.h> /* before ublk_cmd.h, which does not include it for _IOWR */
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/ublk_cmd.h>
#include <stdbool.h>

#define PF_EXITING 0x00000004
#define PF_USER_WORKER 0x00004000 /* io-wq and SQPOLL threads */
#define PF_KTHREAD 0x00200000

#define IORING_ENTER_REGISTERED_RING (1U << 4)
#define IO_RINGFD_REG_MAX 16

#define IORING_SETUP_SQPOLL (1U << 1)
#define IORING_SETUP_SQE128 (1U << 10)
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#define IORING_SETUP_SQ_REWIND (1U << 20)
#define IORING_OP_URING_CMD 46

#define REQ_OP_MASK 0xff
#define REQ_OP_READ 0
#define REQ_OP_WRITE 1

/* The kernel's dev_t: 12 bits of major, 20 of minor (include/linux/kdev_t.h). */
#define KERNEL_MINOR_BITS 20

typedef __u32 blk_opf_t;
typedef __u64 sector_t;

/* An SQE is ABI: its layout is fixed, so no relocation. */
struct io_uring_sqe {
	__u8 opcode;
	__u8 flags;
	__u16 ioprio;
	__s32 fd;
	__u32 cmd_op;
	__u32 pad;
	__u64 addr;
	__u32 len;
	__u32 op_flags;
	__u64 user_data;
	__u16 buf_index;
	__u16 personality;
	__s32 file_index;
	/* struct ublksrv_io_cmd or struct ublk_batch_io */
	__u16 q_id;
	__u16 tag;
	__s32 result;
	__u64 io_addr;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct inode {
	__u32 i_rdev;
};

struct file {
	struct inode *f_inode;
	void *private_data;
	const void *f_op;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct io_uring_task {
	struct file *registered_rings[IO_RINGFD_REG_MAX];
};

struct task_struct {
	int pid;
	int tgid;
	unsigned int flags;
	char comm[16];
	struct files_struct *files;
	struct io_uring_task *io_uring;
};

struct irqaction {
  const char* name;
};

struct gendisk {
	void *private_data;
};

struct request_queue {
	int id;
	struct gendisk *disk;
};

struct blk_mq_hw_ctx {
	unsigned int queue_num;
	struct request_queue *queue;
	void *driver_data;
};

struct request {
	struct request_queue *q;
	struct blk_mq_hw_ctx *mq_hctx;
	blk_opf_t cmd_flags;
	int tag;
	unsigned int __data_len;
	__u64 start_time_ns;
	struct request *rq_next;
};

struct rq_list {
	struct request *head;
};

struct blk_mq_queue_data {
	struct request *rq;
	bool last;
};

struct io_uring_cqe {
	__u64 user_data;
	__s32 res;
	__u32 flags;
};

struct io_uring {
	__u32 head;
	__u32 tail;
};

struct io_rings {
	struct io_uring sq;
};

struct io_ring_ctx {
	unsigned int flags;
	struct io_rings *rings;
	__u32 *sq_array;
	struct io_uring_sqe *sq_sqes;
	unsigned int cached_sq_head;
	unsigned int sq_entries;
	unsigned int cached_cq_tail;
	unsigned int cq_entries;
};

struct io_uring_cmd {
	struct file *file;
	const struct io_uring_sqe *sqe;
	__u32 cmd_op;
	__u8 pdu[32];
};

struct io_kiocb {
	struct file *file;
	__u8 opcode;
};

struct io_br_sel {
	void *buf_list;
	long val;
};

/* ublk's own, from the module's BTF. */
struct ublk_device {
	struct gendisk *ub_disk;
	struct ublksrv_ctrl_dev_info dev_info;
	int ub_number;
};

struct __kfifo {
	unsigned int in;
	unsigned int out;
	unsigned int mask;
	unsigned int esize;
	void *data;
};

struct ublk_queue {
	__u16 q_id; /* an int on Linux 6.12: its low half, where that comes first */
	unsigned long flags;
	struct ublk_device *dev;
	struct {
		union {
			struct __kfifo kfifo;
		};
	} evts_fifo;
	struct list_head fcmd_head;
};

struct ublk_uring_cmd_pdu {
	struct request *req;
	struct ublk_queue *ubq;
};

struct ublk_batch_io_data {
	struct ublk_device *ub;
	struct io_uring_cmd *cmd;
	struct ublk_batch_io header;
};

#pragma clang attribute pop

#endif
