package slub

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/slubd/slubd/hooks"
)

// A hookSet is the hooks of a cache or of Buckets at one time. It is constant. Whatever calls a
// hook has the set on its stack until the hook has returned (runtime.KeepAlive), so that the
// collector knows when no operation can call one any more: hookState.wait asks it. That costs the
// operations nothing; to count them would take as long as an Alloc does.
type hookSet struct {
	hooks.Hooks
	each bool // there is an Alloc or a Free hook, which is called for every object
}

// noHooks is the set of all that have no hooks.
var noHooks = new(hookSet)

func newHookSet(h hooks.Hooks) *hookSet {
	each := h.Alloc != nil || h.Free != nil
	if !each && h.NewSlab == nil && h.Report == nil {
		return noHooks
	}
	return &hookSet{Hooks: h, each: each}
}

// A hookState is the set in force, and those that were in force before.
//
// SetHooks stores now first, then exchanges the operations of the cache: an operation loads its
// code, then now. It pairs with what orders an operation behind SetHooks, a channel or a mutex of
// the caller's: such an operation sees both stores. Another one may see any of four states. With
// the new code and no hooks in now it calls none; with the old code, which knows no hooks, either.
// Both are what the old state asks for.
type hookState struct {
	now atomic.Pointer[hookSet] // not nil once the cache is built. Stored under mu after that

	// hadFree says that a set with a Free hook was replaced. It is stored before the set is.
	hadFree atomic.Bool

	mu     sync.Mutex              // held by SetHooks
	before []weak.Pointer[hookSet] // replaced, perhaps still called. Under mu
}

// replace makes h the set in force, and returns the one that was. The caller holds mu, or that of
// the Buckets.
func (s *hookState) replace(h *hookSet) (was *hookSet) {
	was = s.now.Load()
	if was.Free != nil {
		s.hadFree.Store(true)
	}
	s.now.Store(h)
	return was
}

// askedOnFree reports whether a Free hook may be running: there is one, or there was. It loads the
// words in the other order than replace stores them.
func (s *hookState) askedOnFree() bool { return s.now.Load().Free != nil || s.hadFree.Load() }

// retireLocked notes that the set in force is about to be replaced. The caller holds mu.
func (s *hookState) retireLocked() {
	s.pruneLocked()
	if now := s.now.Load(); now != noHooks {
		s.before = append(s.before, weak.Make(now))
	}
}

// pruneLocked forgets sets that nothing refers to. The caller holds mu.
func (s *hookState) pruneLocked() {
	s.before = slices.DeleteFunc(s.before, func(w weak.Pointer[hookSet]) bool { return w.Value() == nil })
}

// wait is WaitHooks. It doesn't wait for sets that are replaced after it has begun. Between two
// collections it waits for longer and longer, up to a second.
func (s *hookState) wait(ctx context.Context) error {
	s.mu.Lock()
	before := slices.Clone(s.before)
	s.mu.Unlock()
	// As of the last collection.
	called := func() bool {
		return slices.ContainsFunc(before, func(w weak.Pointer[hookSet]) bool { return w.Value() != nil })
	}
	for pause := time.Millisecond; called(); pause = min(2*pause, time.Second) {
		runtime.GC()
		if !called() {
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
	return nil
}

// hooked reports whether the cache has a hook that is called for every object.
func (c *Cache) hooked() bool { return c.hooking.now.Load().each }

// reports reports whether there is a Report hook.
func (c *Cache) reports() bool { return c.hooking.now.Load().Report != nil }
