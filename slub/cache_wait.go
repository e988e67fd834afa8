package slub

import (
	"context"
	"fmt"
	"time"
	"unsafe"
)

// AllocContext is Alloc that waits until there is memory, or ctx ends. It costs as much as Alloc
// where that succeeds. While it waits it tries again every few milliseconds, and reclaims each
// time; grace periods are expedited.
//
// Any goroutine that may wait: not a callback, nor an online reader of the Domain, which may hold
// up what would become free. Errors: ErrClosed; ErrNoMemory together with ctx.Err(), or alone if an
// object exceeds the limit of the arena or the Group. (Kernel: kmem_cache_alloc with __GFP_NOFAIL.)
func (c *Cache) AllocContext(ctx context.Context) (unsafe.Pointer, error) {
	p, err := c.Alloc()
	if err == nil {
		return p, nil
	}
	return waitForRoom(ctx, c.most, c.bytesOf(1), err, c.Alloc)
}

// The pauses of a caller that waits for memory; they double. Frees can't wake it: the common one is
// a restartable sequence that knows of no waiters.
const (
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// waitForRoom calls alloc until it succeeds or ctx ends. The last call, for the given bytes, has
// returned err.
func waitForRoom(ctx context.Context, limit func() int64, bytes int64, err error, alloc func() (unsafe.Pointer, error)) (p unsafe.Pointer, _ error) {
	timer := time.NewTimer(firstPause)
	defer timer.Stop()
	for pause := firstPause; shortOfMemory(err) && bytes <= limit(); {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-timer.C:
		}
		if p, err = alloc(); err == nil {
			return p, nil
		}
		pause = min(2*pause, longestPause)
		timer.Reset(pause)
	}
	return nil, err
}
