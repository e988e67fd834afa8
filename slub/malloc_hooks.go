package slub

import (
	"context"
	"fmt"
	"slices"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
)

// SetHooks changes the hooks of all sizes while the Buckets are in use, also of DefaultBuckets; see
// Cache.SetHooks. With a hook for every object Malloc and Free are no sequences of their own any
// more, but calls of the size's cache.
//
// An object that is allocated or freed while SetHooks runs calls the old hooks or the new ones,
// whatever its size. MallocZero that runs at the same time may show an object to Alloc before it is
// zeroed.
//
// Any goroutine. It costs some ten microseconds, and waits for the cache of a size that is being
// made. Errors, with nothing changed: rcu.ErrInCallback in a callback; ErrClosed.
func (b *Buckets) SetHooks(h hooks.Hooks) error {
	if callback.Inside() {
		return b.inCallback()
	}
	b.pages.mu.Lock()
	defer b.pages.mu.Unlock()
	if b.pages.closed {
		return ErrClosed
	}
	s := &b.hooking
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireLocked()
	set := newHookSet(h)
	s.now.Store(set)
	for c := range b.all() {
		c.setHooks(set)
	}
	b.accounted.admit(!set.each)
	for _, f := range b.filled {
		f.switchTo(b, !set.each)
	}
	return nil
}

// WaitHooks waits until no operation calls hooks any more that SetHooks has replaced before; see
// Cache.WaitHooks.
func (b *Buckets) WaitHooks(ctx context.Context) error {
	if callback.Inside() {
		return b.inCallback()
	}
	if err := b.hooking.wait(ctx); err != nil {
		return fmt.Errorf("slub: buckets %q: hooks that were replaced may still be called: %w", b.config.name(), err)
	}
	return nil
}

// A filling is sequences that find the caches' stacks, unless there are hooks for every object.
type filling struct {
	sequences
	filled bool
	resume []func() // of sequences that are suspended
}

// addSequences makes sequences find the caches' stacks, now or when the hooks are gone.
func (b *Buckets) addSequences(s sequences) {
	b.hooking.mu.Lock()
	defer b.hooking.mu.Unlock()
	f := &filling{sequences: s}
	b.filled = append(b.filled, f)
	f.switchTo(b, !b.hooking.now.Load().each)
}

// switchTo lets the sequences find the stacks, or has them take their slow paths. The caller holds
// the mutex of b.hooking.
//
// SetHooks has stored the set and exchanged the caches' operations before, which the slow paths
// call. So an operation that begins after SetHooks finds the words of a sequence as they are stored
// here, and otherwise the cache's. One that has loaded them before has begun before.
func (f *filling) switchTo(b *Buckets, on bool) {
	switch {
	case on && !f.filled:
		b.fill(f.sequences)
		f.filled = true
	case on:
		for _, resume := range slices.Backward(f.resume) {
			resume()
		}
		f.resume = nil
	case f.filled && f.resume == nil:
		direct := f.direct.Swap(0)
		f.resume = []func(){f.malloc.Suspend(), f.free.Suspend(), f.bytes.Suspend(), f.freeBytes.Suspend(),
			func() { f.direct.Store(direct) }}
	}
}

// admit lets Accounts allocate and free by their short paths, or sends them to the caches'
// operations. The caller holds pageClasses.mu.
func (a *accountedClasses) admit(on bool) {
	s := a.set.Load()
	for class, c := range a.made() {
		if entry := &s.classes[class]; entry.push != nil && on {
			entry.direct.Store(int64(c.layout.slot))
		} else {
			entry.direct.Store(notDirect)
		}
	}
}
