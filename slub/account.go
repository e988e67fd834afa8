package slub

import (
	"math"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/slab"
)

// An Account is charged for single objects: for those that one connection or one request of a
// program has allocated. It bounds them, tells how many bytes they have, and frees all of them at
// once. It is light: some hundred bytes of Go memory, no lock and no name in any registry, so that
// a program may have a million of them, or one for each request.
//
//	a, err := slub.NewAccount(slub.AccountConfig{Limit: 1 << 20})
//	defer a.Close() // frees what is left
//	p, err := a.Malloc(100)
//	a.Free(p)
//
// # What is charged
//
// Malloc, MallocZero, Bytes and Realloc charge the bytes that the object has room for: those of its
// size class, or of its pages. The charge ends when the object is free, in whichever way, on
// whichever goroutine: by Account.Free, Reset, Buckets.Free, FreeBytes, FreeBulk, Slice or
// Cache.Free; by FreeRCU when the grace period is over and the destructor has returned; by
// FreeDeferred when the list is drained. It ends before the Free hook is called. An object that the
// hook keeps is charged to nothing. The object that Buckets.Realloc returns in another place is
// charged to nothing either; that of Account.Realloc is charged to the Account.
//
// # Which goroutine may call what
//
// One goroutine at a time may call Malloc, MallocZero, Bytes, Realloc, Free, Reset, SetLimit and
// Close; to hand an Account on needs a happens-before edge, such as a channel or a mutex of the
// caller's. Builds with -race report other uses; builds with -tags invariants panic. Usage, Name
// and Limit are for any goroutine, and so are all other ways to free an Account's objects.
// Goroutines that work on one request at the same time have an Account each, and a Group as the
// Parent of these. A hook that one of these methods calls must not call them for the same Account.
//
// # What it costs
//
// A Malloc and its Free right behind it cost less than twice what those of the Buckets do, and 2.6
// times as much if a hundred other objects are allocated in between. There is no counter that
// goroutines share: Malloc and Free change words that only the Account's goroutine writes. A free
// by other means costs an atomic operation more than it does in a hardened cache. What Buckets
// allocate without an Account costs what it costs in a program without Accounts.
//
// (Kernel: struct obj_cgroup, __memcg_slab_post_alloc_hook, memcg_slab_free_hook.)
type Account struct {
	_       noCopy
	state   *accountState
	cleanup runtime.Cleanup // ends the state of an Account that was lost; set with its number
}

// AccountConfig describes an Account. The zero value is usable. In every field 0 means automatic.
type AccountConfig struct {
	// Name appears in errors and in OwnerInfo. Any text; several Accounts may have the same.
	Name string
	// Limit bounds the bytes that may be charged. None lets nothing be allocated. 0 is automatic:
	// Unlimited. See SetLimit.
	Limit int64
	// Parent is a Group that is charged for the Account as well, in steps of 4 KiB: it answers for
	// up to 12 KiB more than the Account's objects have. The Group of the Buckets and that one's
	// parent are charged for the objects' pages already: the Parent must be neither of them, nor
	// have one of them as its own parent. nil: none.
	Parent *Group
}

// NewAccount makes an Account whose objects come from the Buckets. Any goroutine. It costs an
// allocation of Go memory; the first Malloc of an Account takes a number for it, under a lock, and
// the first one of a size class has a cache made, which takes about 100 us.
// Errors: ErrConfig, joined for all problems of cfg; for the first Account of the Buckets also
// ErrClosed, and that there are too many caches.
func (b *Buckets) NewAccount(cfg AccountConfig) (*Account, error) {
	if err := b.validateAccount(cfg); err != nil {
		return nil, err
	}
	set, err := b.accountedSet()
	if err != nil {
		return nil, err
	}
	s := &accountState{buckets: b, set: set, name: cfg.Name, parent: cfg.Parent, hole: noSlot}
	s.setLimit(limitOrUnlimited(cfg.Limit))
	return &Account{state: s}, nil
}

func (b *Buckets) validateAccount(cfg AccountConfig) error {
	p := configErrors("account", cfg.Name, "AccountConfig")
	p.Within("Limit", cfg.Limit, None, math.MaxInt64)
	if g := cfg.Parent; g != nil {
		own := b.config.Group
		for level := g; own != nil && level != nil; level = level.parent {
			if level == own || level == own.parent {
				p.Add("Parent", "%q is charged for the pages of the buckets %q already", level.name, b.Name())
				break
			}
		}
		if g.isClosed() {
			p.Add("Parent", "%q is closed", g.name)
		}
	}
	return p.Err()
}

// Name returns AccountConfig.Name. Any goroutine.
func (a *Account) Name() string { return a.state.name }

// Limit returns the bound in bytes, or Unlimited. Any goroutine.
func (a *Account) Limit() int64 { return a.state.limit.Load() }

// Usage returns the bytes that are charged: the exact sum at one moment between the call and the
// return. Any goroutine, also after Close, when it tells what FreeRCU and FreeDeferred have left.
// It costs some loads.
func (a *Account) Usage() int64 { return a.state.usage() }

// Malloc is Buckets.Malloc of an object that is charged to the Account. The common case, up to 1
// MiB, is the class's restartable sequence and some stores. Malloc(0) takes no memory, and is
// charged for none.
//
// Errors: ErrAccountLimit, with an *AccountError; ErrGroupLimit, with a *GroupError that names the
// Parent; ErrConfig, if the Parent was closed before the first object; after Close ErrClosed; as
// Buckets.Malloc.
func (a *Account) Malloc(n int) (unsafe.Pointer, error) {
	s := a.state
	if invariants.Enabled {
		defer s.use()()
	}
	if less := uint(n) - 1; less < maxPageClass {
		class := accountedClassOf(less) & accountedMask
		c := &s.set.classes[class]
		if int64(s.room) >= c.direct.Load() && s.hole != noSlot {
			p, err := c.pop()
			if err != nil {
				return nil, err
			}
			if invariants.Enabled {
				var ok bool
				if p, ok = s.set.caches[class].Load().look(p); !ok {
					return a.mallocSlow(n, false)
				}
			}
			if ext := c.extAt(p); ext.Mark() != slab.InUse {
				slot := s.hole
				*ext = slab.ExtInUse(s.ref | uint64(slot))
				at := s.slotAt(slot)
				s.hole = uint32(*at >> 1)
				*at = uintptr(p)
				mem.Store64(&s.room, s.room-uint64(c.size))
				runtime.KeepAlive(a)
				return p, nil
			}
			s.reportInUse(p)
		}
	}
	return a.mallocSlow(n, false)
}

// MallocZero is Malloc with the n bytes zeroed. Errors: as Malloc.
func (a *Account) MallocZero(n int) (unsafe.Pointer, error) {
	if n > maxPageClass {
		if invariants.Enabled {
			defer a.state.use()()
		}
		return a.mallocSlow(n, true)
	}
	p, err := a.Malloc(n)
	if err == nil && n > 0 {
		mem.Zero(uintptr(p), uintptr(n))
	}
	return p, err
}

// Bytes is Buckets.Bytes of a slice that is charged to the Account. Free it with FreeBytes of the
// Buckets, or pass its first byte's address to Free. Errors: as Malloc.
func (a *Account) Bytes(n int) ([]byte, error) {
	p, err := a.Malloc(n)
	return a.state.buckets.newBytes(p, n, err)
}

// Free frees what Malloc, MallocZero or Bytes returned, in the short way if it is charged to this
// Account. It is Buckets.Free of all other objects, which may be charged to another Account or to
// none, with its checks and reports.
func (a *Account) Free(p unsafe.Pointer) {
	s := a.state
	if invariants.Enabled {
		defer s.use()()
	}
	if c := s.set.classAt(p); c != nil && c.direct.Load() != notDirect {
		ext := c.extAt(p)
		slot := uint32(ext.Ref()) & slotMask
		if *ext == slab.ExtInUse(s.ref|uint64(slot)) && uint(slot) < s.numSlots && *s.slotAt(slot) == uintptr(p) {
			*ext = slab.Ext(slab.Free)
			*s.slotAt(slot) = uintptr(s.hole)<<1 | 1
			s.hole = slot
			mem.Store64(&s.room, s.room+uint64(c.size))
			c.push(p)
			if int64(s.room) > s.mostRoom {
				s.giveRoom()
			}
			runtime.KeepAlive(a)
			return
		}
	}
	s.buckets.Free(p)
	runtime.KeepAlive(a)
}

// Reset frees all objects that are charged to the Account and that no other call has freed, or
// given to FreeRCU or FreeDeferred. The caller must not use any of them afterwards, and the
// Account can be used again. It costs twice what Free costs for each object, and a look at each
// slot: the Account keeps up to 512 of them, as many as it has had objects at once.
//
// Another goroutine that frees one of the objects at the same time is a mistake of the caller's.
// Either it or Reset frees the object. If Reset does, the other free is a second one, and is
// reported unless the object has been allocated again; see Buckets.Free.
//
// If a Free hook or a report panics, the objects behind it stay in use, and Reset can be called
// again.
func (a *Account) Reset() {
	if invariants.Enabled {
		defer a.state.use()()
	}
	a.state.reset()
	runtime.KeepAlive(a)
}

// Close is Reset, and ends the Account: Malloc returns an error from then on, and Free is
// Buckets.Free. The Parent is charged for what has been given to FreeRCU or FreeDeferred until it
// is free. A second Close does nothing, and so does Close of nil.
//
// If the program drops an Account without Close, its objects stay in use, and can be freed
// otherwise. When a collection has found it and they are free, nothing is left of it.
func (a *Account) Close() {
	if a == nil {
		return
	}
	s := a.state
	if invariants.Enabled {
		defer s.use()()
	}
	if s.closed {
		return
	}
	s.reset()
	a.cleanup.Stop()
	runtime.KeepAlive(a) // until then, or the cleanup might run as well, and end the state twice
	s.end()
}
