#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where each thread's struct rseq is; own: it is ours, not libc's.
struct slubd_rseq_area {
	ptrdiff_t offset;
	bool own;
};

struct slubd_rseq_area slubd_rseq_area(void);

// The bytes of an area that the kernel keeps up to date: what libc says, or the length with which
// a thread was registered, 0 before the first.
uint32_t slubd_rseq_size(void);

// Registers the calling thread's own area. Returns 0 or an errno.
int slubd_rseq_register(void);
