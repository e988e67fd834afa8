package slub

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/rcu"
)

// Flags change how a cache treats its objects.
type Flags uint32

const (
	// HWCacheAlign aligns objects to cache lines of 64 bytes, or to the largest
	// fraction of one that holds them (kernel: SLAB_HWCACHE_ALIGN).
	HWCacheAlign Flags = 1 << iota
	// InitOnAlloc zeroes every object before Alloc returns it (init_on_alloc=1).
	InitOnAlloc
	// InitOnFree zeroes every object when it is freed (init_on_free=1), for FreeRCU
	// after the grace period.
	InitOnFree
	// NoSheaves leaves out the per-CPU sheaves: every operation goes to the slabs.
	NoSheaves
	// NoMerge keeps the cache's slabs for itself. Without it caches of the same object
	// size, alignment, flags, Domain and RCU settings in one arena share slabs, sheaves and
	// counters, unless one of them has a Ctor, an RCUDtor, hooks, a SheafCapacity or a
	// FreePtrOffset. The environment variable SLUBD_NOMERGE keeps all apart
	// (SLAB_NO_MERGE, slab_nomerge).
	NoMerge
	// TypesafeByRCU keeps the memory of slabs from anybody else until a grace period of
	// the Domain has passed since they became empty. An object may be allocated again
	// the moment it is freed; but whoever reads one that is gone, under RCU, still reads
	// an object of this cache, and finds out by what is in it. The free pointer lies
	// outside the object unless FreePtrOffset says otherwise. Such a cache shares its
	// slabs with no other. (SLAB_TYPESAFE_BY_RCU.)
	TypesafeByRCU
	// ShuffleFreelist hands the objects of a new slab out in an order that can't be told
	// beforehand: a random one of the cache's, from a random start (kernel:
	// CONFIG_SLAB_FREELIST_RANDOM).
	ShuffleFreelist

	allFlags = HWCacheAlign | InitOnAlloc | InitOnFree | NoSheaves | NoMerge | TypesafeByRCU | ShuffleFreelist
)

// An Offset is a place in an object, in bytes; the zero value is none. See At.
type Offset struct {
	n   uintptr
	set bool
}

// At returns the Offset n bytes from an object's start.
func At(n uintptr) Offset { return Offset{n, true} }

// Config describes a cache. Only Size is required.
type Config struct {
	// Name appears in reports and as the metrics' cache label: 1 to 64 letters,
	// digits and "_-.:/". Empty means the name of NewTyped's type, if that has no others,
	// or else "size-N". A name that an open cache has already gets "#" and a number
	// appended.
	Name string
	// Size of an object in bytes, 1 to 4 MiB.
	Size uintptr
	// Align is the alignment of objects in bytes, a power of two up to a page; 0
	// means 8.
	Align uintptr
	// Ctor prepares an object when its slab is made, once; the object keeps what
	// it holds over Free and Alloc. The free pointer then lies outside the object
	// unless FreePtrOffset says otherwise.
	Ctor func(unsafe.Pointer)
	// RCUDtor is called once on each object given to FreeRCU, after its grace
	// period and before the object can be allocated again, whichever way it went:
	// inside anybody's Alloc, AllocBulk, Barrier or Close, on a goroutine of the
	// package's or in a callback of the Domain, or when memory is exhausted inside the FreeRCU. So it must not take a
	// lock that is ever held around these, not block, not wait for a grace period, not call
	// into the allocator but for AllocNoWait, FreeDeferred and FreeRCUNoWait. If one panics or
	// ends its goroutine, its object counts as destroyed. What waits behind it is destroyed
	// later, perhaps after another grace period, which a Barrier that is under way may not
	// wait for. (The first posting of the kernel's sheaves, RFC v1: sheaf_rcu_dtor; mainline
	// has none.)
	RCUDtor func(unsafe.Pointer)
	// FreePtrOffset is where a free object keeps its link, a multiple of 8 within
	// the object; none means the middle, where overruns of neighbours rarely reach.
	FreePtrOffset Offset
	// SheafCapacity in objects; 0 is automatic: the kernel's 4, 12, 28 or 60 by size, up
	// to four times as many on up to 16 CPUs, two on up to 64, as far as 16 KiB go.
	// Values below the kernel's are raised to it. See SetSheafCapacity.
	SheafCapacity int
	// BarnFull and BarnEmpty are how many full and empty sheaves a node's barn keeps;
	// 0 means 10, as in the kernel. See SetBarnLimits.
	BarnFull, BarnEmpty int
	// MinPartial bounds the empty slabs of a node: one that becomes empty is kept if the
	// node has fewer partial slabs than that. 0 means 5 to 10, by size. See
	// SetMinPartial (min_partial).
	MinPartial int
	// Slabs bounds the order of slabs.
	Slabs Slabs
	Flags Flags
	// Hooks see every object go by. A cache with an Alloc or Free hook is slower.
	Hooks hooks.Hooks
	// Domain provides the grace periods of FreeRCU; nil means DefaultDomain.
	Domain *rcu.Domain
	// RCUDelay bounds how long an object given to FreeRCU waits for company before
	// its grace period starts; 0 means 20 ms.
	RCUDelay time.Duration
	// RCUSoftLimit and RCUHardLimit bound the bytes that wait for grace periods. A sheaf
	// counts as a whole as soon as a CPU gathers objects in it. Beyond the soft limit
	// half-full sheaves are submitted at once, the grace period is hurried, and what has
	// seen it out is taken back without anybody wanting it. At the hard limit FreeRCU waits.
	// It should have room for two sheaves per CPU.
	//
	// 0 is automatic: a quarter of the arena's limit, or else an eighth of the machine's or
	// cgroup's memory, for the hard limit, but at least two sheaves and 1 MiB per CPU; a
	// quarter of that for the soft one. Negative is none.
	//
	// A hard limit below a sheaf's bytes is taken at its word: when nothing waits one sheaf
	// is let through, however large, and everybody else's FreeRCU waits for its grace period.
	// That is slow but safe. It is no error, since how large sheaves are depends on the number
	// of CPUs and on SetSheafCapacity: what is right on one machine would be refused on
	// another.
	RCUSoftLimit, RCUHardLimit int64
	// RCUMaxWait bounds how long one FreeRCU waits at the hard limit. What it then adds
	// beyond is counted (BacklogStats.Overruns).
	//
	// 0 is automatic: as long as the limit has been holding others up, at least a tenth of
	// a second. Each goroutine then goes beyond it after 0.1 s, 0.2, 0.4 and so on, by a
	// sheaf each time: some twenty sheaves in a day behind a reader that never reports.
	// Negative is no bound: the limit then holds whatever happens, and a FreeRCU by an
	// online reader of the Domain may wait for itself for ever.
	RCUMaxWait time.Duration
}

// maxName bounds a name, which becomes a label value and a column.
const maxName = 64

// Validate reports every problem of the config at once; each names the cache and the field,
// and wraps ErrConfig.
func (c Config) Validate() error {
	p := problems{of: fmt.Sprintf("cache %q", c.name()), config: "Config"}
	if !validName(c.name()) {
		p.bad("Name", "%q: want 1 to %d letters, digits and _-.:/", c.Name, maxName)
	}
	if c.Size == 0 || c.Size > mem.PageSize<<arena.MaxOrder {
		p.bad("Size", "%d is not within 1..%d bytes", c.Size, mem.PageSize<<arena.MaxOrder)
	}
	if c.Align != 0 && (!mem.IsPow2(c.Align) || c.Align > mem.PageSize) {
		p.bad("Align", "%d is no power of two up to %d", c.Align, mem.PageSize)
	}
	if off := c.FreePtrOffset; off.set && (off.n%freePtrSize != 0 || off.n >= mem.AlignUp(c.Size, freePtrSize)) {
		p.bad("FreePtrOffset", "%d is no multiple of %d within the object's %s", off.n, freePtrSize, text.Count(c.Size, "byte", "bytes"))
	}
	if c.SheafCapacity < 0 || c.SheafCapacity > percpu.MaxCap {
		p.bad("SheafCapacity", "%d is not within 0..%d objects", c.SheafCapacity, percpu.MaxCap)
	}
	checkBarn(p.bad, "BarnFull", "BarnEmpty", c.BarnFull, c.BarnEmpty)
	if c.Flags&^allFlags != 0 {
		p.bad("Flags", "there is no flag %#x", uint32(c.Flags&^allFlags))
	}
	if c.RCUDtor != nil && c.Flags&NoSheaves != 0 {
		p.bad("RCUDtor", "needs sheaves, which the flag NoSheaves switches off")
	}
	if c.Ctor != nil && c.Flags&(InitOnAlloc|InitOnFree) != 0 {
		p.bad("Ctor", "the flags InitOnAlloc and InitOnFree would undo its work")
	}
	if c.Flags&TypesafeByRCU != 0 && c.Flags&(InitOnAlloc|InitOnFree) != 0 {
		p.bad("Flags", "readers of TypesafeByRCU would find objects that InitOnAlloc or InitOnFree clears")
	}
	if c.MinPartial < 0 {
		p.bad("MinPartial", "%d is negative", c.MinPartial)
	}
	c.Slabs.validate(p.bad)
	c.rcuLimits().validate(p.bad)
	if c.RCUDelay < 0 {
		p.bad("RCUDelay", "%v is negative", c.RCUDelay)
	}
	return p.joined()
}

// name is what New calls the cache, unless there is one of that name.
func (c Config) name() string {
	if c.Name == "" {
		return fmt.Sprintf("size-%d", c.Size)
	}
	return c.Name
}

func validName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) })
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/", r)
}

// freePtrSize is the size of a free object's link in bytes.
const freePtrSize = 8

// layout is where things lie in an object's slot.
type layout struct {
	size  uintptr // the user's bytes
	slot  uintptr // from one object to the next
	align uintptr
	fp    uintptr // of the free pointer; at or behind size when outside
}

// layout computes an object's slot (kernel: calculate_sizes, without debug).
func (c Config) layout() layout {
	l := layout{size: c.Size, align: max(8, c.Align)}
	if c.Flags&HWCacheAlign != 0 {
		// Small objects share a line rather than waste one (calculate_alignment).
		line := uintptr(mem.CacheLine)
		for l.size <= line/2 {
			line /= 2
		}
		l.align = max(l.align, line)
	}
	end := mem.AlignUp(l.size, freePtrSize)
	switch {
	case c.FreePtrOffset.set:
		l.fp = c.FreePtrOffset.n
	case c.Ctor != nil || c.Flags&TypesafeByRCU != 0:
		l.fp = end
		end += freePtrSize
	default:
		l.fp = mem.AlignDown(l.size/2, freePtrSize)
	}
	l.slot = mem.AlignUp(end, l.align)
	return l
}

// fpInside reports whether the free pointer overwrites the user's bytes.
func (l layout) fpInside() bool { return l.fp < l.size }
