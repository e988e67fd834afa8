package slub_test

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// A subject is one cache under the checker, with the slots through which workers pass its
// objects.
type subject struct {
	*ledger
	cache  *slub.Cache
	config slub.Config
	size   uintptr
	align  uintptr

	// Readers find published objects, other workers take crossing ones.
	published [16]atomic.Pointer[byte]
	crossing  [64]atomic.Pointer[byte]

	tally   tally                 // sum over the workers that have finished
	failure atomic.Pointer[error] // of the first call that failed
	died    atomic.Uint64
	hooked  []atomic.Uint32 // by (address - base) / 8: 1 while in use according to the hooks
	hookIn  atomic.Int64    // calls of the Alloc hook minus those of the Free hook
}

// A tally counts the objects that workers allocated and freed.
type tally struct {
	taken, given, retired atomic.Int64
	failed                atomic.Int64 // calls that returned an error
}

// traits are the callbacks of a subject.
type traits uint8

const (
	withCtor traits = 1 << iota
	withDtor
	withHooks
)

func newSubject(b *ledger, a *arena.Arena, cfg slub.Config, has traits) *subject {
	s := &subject{ledger: b, size: uintptr(cfg.Size)}
	cfg.Domain = b.domain
	if has&withCtor != 0 {
		cfg.Ctor = func(p unsafe.Pointer) { paint(p, s.size, constructed) }
	}
	if has&withDtor != 0 {
		cfg.RCUDtor = func(p unsafe.Pointer) {
			if !painted(p, s.size, stampIn(p)) {
				s.faultf("%p changed under its grace period", p)
			}
			s.expire(p)
			s.died.Add(1)
		}
	}
	if has&withHooks != 0 {
		s.hooked = offHeap[atomic.Uint32](b.t, a)
		cfg.Hooks = hooks.Hooks{Alloc: s.allocHook, Free: s.freeHook}
	}
	cfg.Hooks.Report = func(r *hooks.Report) { s.faultf("%v", r) }
	s.config, s.cache = cfg, open(b.t, a, cfg)
	s.align = uintptr(s.cache.Stats().Align)
	return s
}

func (s *subject) allocHook(o hooks.Object) {
	s.hookIn.Add(1)
	if !s.hooked[(o.Addr-s.base)/8].CompareAndSwap(0, 1) {
		s.faultf("Alloc hook called twice for %#x", o.Addr)
	}
}

func (s *subject) freeHook(o hooks.Object) (keep bool) {
	s.hookIn.Add(-1)
	if !s.hooked[(o.Addr-s.base)/8].CompareAndSwap(1, 0) {
		s.faultf("Free hook called for %#x, which is not out", o.Addr)
	}
	return false
}

// fresh checks that an object just allocated is as the cache promises, and paints it.
func (s *subject) fresh(p unsafe.Pointer, stamp uint64) {
	s.claim(p, stamp)
	if uintptr(p)%s.align != 0 {
		s.faultf("%p is not aligned to %d", p, s.align)
	}
	if s.config.Ctor != nil && !painted(p, s.size, constructed) {
		s.faultf("%p of a cache with a constructor holds %#x, which isn't its work", p, stampIn(p))
	}
	if s.config.Flags&slub.InitOnAlloc != 0 && !zeroed(p, s.size) {
		s.faultf("%p is not zero", p)
	}
	paint(p, s.size, stamp)
}

// intact checks that an object has the content that its owner painted.
func (s *subject) intact(p unsafe.Pointer, stamp uint64) {
	if !painted(p, s.size, stamp) {
		s.faultf("%p of %d bytes was changed under owner %#x", p, s.size, stamp)
	}
}

// leave ends the caller's ownership, before Free.
func (s *subject) leave(p unsafe.Pointer) {
	s.intact(p, s.release(p))
	if s.config.Ctor != nil {
		paint(p, s.size, constructed)
	}
}

// drop gives an object to FreeRCU. It does not restore a constructor's work, since readers still
// read the object; so subjects with a constructor don't publish.
func (s *subject) drop(p unsafe.Pointer) {
	s.intact(p, s.retire(p))
	s.cache.FreeRCU(p)
}
