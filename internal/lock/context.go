package lock

import (
	"context"
	"sync"
)

// Context locks mu, or returns ctx.Err() if ctx ends first. It is for locks that are held while
// functions of the user's run, or grace periods pass. If mu is held and ctx may end, another
// goroutine waits for mu, since a sync.Mutex has no deadline. It waits in turn like all others,
// which calls of TryLock would not. If ctx ends first it unlocks mu as soon as it gets it.
func Context(ctx context.Context, mu *sync.Mutex) error {
	if ctx.Done() == nil {
		mu.Lock()
		return nil
	}
	if mu.TryLock() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	locked := make(chan struct{})
	go func() {
		mu.Lock()
		select {
		case locked <- struct{}{}: // mu is the caller's now
		case <-ctx.Done():
			mu.Unlock()
		}
	}()
	select {
	case <-locked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
