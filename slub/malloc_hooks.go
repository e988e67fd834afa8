package slub

import (
	"context"
	"fmt"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
)

// SetHooks changes the hooks of all sizes while the Buckets are in use, also of DefaultBuckets; see
// Cache.SetHooks. With a hook for every object Malloc and Free are no sequences of their own any
// more, but calls of the size's cache.
//
// An operation that runs at the same time as SetHooks calls the old hooks or the new ones. A
// MallocZero at that time may call the Alloc hook before it zeroes the object.
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
	s.replace(set)
	for c := range b.all() {
		c.setHooks(set)
	}
	b.accounted.admit(!set.each)
	for _, f := range b.filled {
		f.switchTo(b, set)
	}
	return nil
}

// Hooks returns the hooks in force: those of the config, or of the last SetHooks. Any goroutine.
func (b *Buckets) Hooks() hooks.Hooks { return b.hooking.now.Load().Hooks }

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

// A filling is sequences that find the caches' stacks, unless there are hooks for what they do.
type filling struct {
	sequences
	filled bool
	// What resumes the sequences that allocate, and those that free, if they are suspended.
	resumeAlloc, resumeFree []func()
}

// addSequences makes sequences find the caches' stacks, now or when the hooks are gone. Those that
// no other goroutine has yet are filled in any case.
func (b *Buckets) addSequences(s sequences, shared bool) {
	b.hooking.mu.Lock()
	defer b.hooking.mu.Unlock()
	f := &filling{sequences: s}
	b.filled = append(b.filled, f)
	if h := b.hooking.now.Load(); !h.each || !shared {
		b.fill(s)
		f.filled = true
		f.switchTo(b, h)
	}
}

// switchTo lets the sequences find the stacks, or has them take their slow paths, as the hooks ask
// for. The caller holds the mutex of b.hooking.
//
// SetHooks has stored the set and exchanged the caches' operations before, which the slow paths
// call. So an operation that begins after SetHooks finds the words of a sequence as they are stored
// here, and otherwise the cache's. One that has loaded them before has begun before.
func (f *filling) switchTo(b *Buckets, h *hookSet) {
	if !f.filled {
		if h.each {
			return
		}
		b.fill(f.sequences)
		f.filled = true
	}
	f.resumeAlloc = toggle(f.resumeAlloc, h.Alloc == nil, func() []func() {
		direct := f.direct.Swap(0)
		return []func(){f.malloc.Suspend(), f.bytes.Suspend(), func() { f.direct.Store(direct) }}
	})
	f.resumeFree = toggle(f.resumeFree, h.Free == nil, func() []func() {
		return []func(){f.free.Suspend(), f.freeBytes.Suspend()}
	})
}

// toggle calls what resumes sequences, or suspends them, unless that is done already. It returns
// what resumes them then.
func toggle(resume []func(), on bool, suspend func() []func()) []func() {
	switch {
	case !on && resume == nil:
		return suspend()
	case !on:
		return resume
	}
	for _, f := range resume {
		f()
	}
	return nil
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
