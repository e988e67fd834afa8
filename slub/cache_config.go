package slub

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/debug"
)

// None and Unlimited are values that every bound in a Config of this module can have. 0 always
// means automatic: the module chooses, and the field's comment says what.
const (
	// None means that there shall be no such thing: none is kept, nothing is done.
	None = arena.None
	// Unlimited means that there is no bound.
	Unlimited = arena.Unlimited
)

// Flags change how a cache treats its objects.
type Flags uint32

const (
	// HWCacheAlign aligns objects to cache lines of 64 bytes, or to the smallest fraction of a
	// line that holds them (kernel: SLAB_HWCACHE_ALIGN).
	HWCacheAlign Flags = 1 << iota
	// InitOnAlloc zeroes every object before Alloc returns it (kernel: init_on_alloc=1).
	InitOnAlloc
	// InitOnFree zeroes every object when it is freed; after FreeRCU, when its grace period is
	// over. The environment variable SLUBD_INIT_ON_FREE=1 gives the flag to all caches that may
	// have it, and to all Buckets (kernel: init_on_free=1).
	InitOnFree
	// NoSheaves leaves out the per-CPU sheaves: every operation goes to the slabs.
	NoSheaves
	// Merge lets the cache share slabs, sheaves and counters with other caches that have the flag,
	// in the same arena and Group, with the same object size, alignment, flags, Domain and RCU
	// settings.
	// Many small caches then take less memory; but they are one in metrics and to Free, and the
	// last Close finds the leaks of all. A cache with a Ctor, an RCUDtor, Hooks, TypesafeByRCU, or
	// a setting of its own of SheafCapacity, BarnFull, BarnEmpty, MinPartial, RemoteDefragRatio,
	// Slabs or FreePtrOffset stays apart. The environment variable SLUBD_MERGE=1 gives all caches
	// of the process the flag. (In the kernel caches merge unless SLAB_NO_MERGE or slab_nomerge is
	// set.)
	Merge
	// TypesafeByRCU gives the pages of an empty slab back only after a grace period of the
	// Domain. Until then the cache may use the slab again, which is retired, and its bytes
	// count for the RCU limits. An object may be allocated again the moment it is freed, but a
	// reader of the Domain that still reads it sees an object of this cache, and must check what
	// it finds there. The free pointer lies outside the object unless FreePtrOffset is set. The
	// cache shares its slabs with no other (kernel: SLAB_TYPESAFE_BY_RCU).
	TypesafeByRCU
	// ShuffleFreelist makes new slabs hand out their objects in an order that can't be predicted:
	// one random order per cache, begun at a random object in each slab (kernel:
	// CONFIG_SLAB_FREELIST_RANDOM).
	ShuffleFreelist

	allFlags = HWCacheAlign | InitOnAlloc | InitOnFree | NoSheaves | Merge | TypesafeByRCU | ShuffleFreelist
)

// An Offset is a position in an object, in bytes from its start. The zero value is no position.
// See At.
type Offset struct {
	n   uintptr
	set bool
}

// At returns the Offset n bytes from an object's start, as unsafe.Offsetof gives it.
func At(n uintptr) Offset { return Offset{n, true} }

// Config describes a cache. Only Size is required. In every field 0 means automatic.
type Config struct {
	// Name appears in reports and is the metrics' cache label: 1 to 64 letters, digits and
	// "_-.:/". Empty is automatic: the name of NewTyped's type, if it has only such characters,
	// otherwise "size-N". If an open cache has the name already, New appends "#" and a number.
	Name string
	// Size of an object in bytes, 1 to 4 MiB. NewTyped fills it in.
	Size int64
	// Align is the alignment of objects in bytes, a power of two up to 4096. 0 is automatic: 8,
	// or that of NewTyped's type.
	Align int64
	// Ctor prepares every object of a new slab, once per slab. The object keeps its content from
	// Free to the next Alloc, so a Ctor's work lasts. The free pointer lies outside the object
	// unless FreePtrOffset is set. It is called by Alloc on the allocating goroutine, with no lock
	// held, and must not call into the allocator except AllocNoWait, MallocNoWait, FreeDeferred and
	// FreeRCUNoWait. If it panics or ends its goroutine, the slab goes back and nothing is
	// allocated.
	Ctor func(unsafe.Pointer)
	// RCUDtor is called once on each object given to FreeRCU, after the grace period and before
	// the object can be allocated again. Any goroutine may end up calling it: inside an Alloc,
	// AllocBulk, FreeRCU, Barrier or Close, in a goroutine of this package or in a callback of
	// the Domain; when memory is short, inside an allocation from any cache of the arena. So it
	// must not block, not wait for a grace period, not take a lock that is ever held around these
	// calls, and not call into the allocator except AllocNoWait, MallocNoWait, FreeDeferred and
	// FreeRCUNoWait.
	//
	// If it panics or ends its goroutine, its object counts as destroyed. The objects behind it
	// are destroyed later, perhaps after another grace period, and a Barrier under way may not
	// wait for them. (The first version of the kernel's sheaves had sheaf_rcu_dtor; mainline has
	// nothing like it.)
	RCUDtor func(unsafe.Pointer)
	// FreePtrOffset is where a free object keeps its link to the next one: a multiple of 8 within
	// the object. Unset is automatic: the middle, which overruns of neighbours rarely reach;
	// behind the object with Ctor or TypesafeByRCU.
	FreePtrOffset Offset
	// SheafCapacity is the number of objects in a sheaf, up to 32767. 0 is automatic: the kernel's
	// 4, 12, 28 or 60 by size, multiplied by up to 4 where runtime.GOMAXPROCS is at most 16 when
	// New is called, by up to 64/GOMAXPROCS between 16 and 64, and by 1 above, within 16 KiB; above
	// 64 KiB fewer than 4, so that they hold at most 256 KiB or one object. Lower numbers than the
	// kernel's are raised to it; see SetSheafCapacity.
	SheafCapacity int
	// BarnFull and BarnEmpty are how many full and how many empty sheaves each node's barn keeps.
	// 0 is automatic: 10, as in the kernel. None keeps none. See SetBarnLimits.
	BarnFull, BarnEmpty int
	// MinPartial is how many partial slabs a node must have before it gives a slab back that
	// becomes empty. 0 is automatic: 5 to 10, by size. None keeps no empty slab. See
	// SetMinPartial (kernel: min_partial).
	MinPartial int
	// RemoteDefragRatio is for machines with several NUMA nodes: of 100 refills that find no
	// partial slab on their CPU's node, how many look for objects in other nodes' partial slabs
	// before they make a slab of their own. High ratios save memory where the load moves from node
	// to node. But objects of another node are slow to reach, and each is freed to a sheaf that
	// goes back to its node.
	//
	// 0 is automatic: none, but all while less than a sixteenth is left of the arena's limit, or of
	// a Group's. 1 to 100: that many, but all near a limit. None: none, also near a limit. In any
	// case other nodes' partial slabs come before other nodes' new ones, and no allocation but
	// AllocNode, MallocNode and PrefillNode fails while another node has a free object in a slab.
	// See SetRemoteDefragRatio (kernel: remote_node_defrag_ratio, which is 100).
	RemoteDefragRatio int
	// Slabs limits the order of slabs.
	Slabs SlabLimits
	Flags Flags
	// Group is charged for the cache's slabs, and bounds them. nil: only the arena does. Caches
	// share slabs (see Merge) only within one Group.
	Group *Group
	// Tag names what the cache is for, in the allocation profile. It may be empty.
	Tag string
	// ProfileRate is the mean number of bytes from one sample of the allocation profile to the next
	// (see ReadProfile). 0 is automatic: what SLUBD_PROFILE_RATE in the environment says, otherwise
	// 512 KiB. None takes no samples. A cache with a Tag or a ProfileRate does not merge.
	ProfileRate int64
	// GuardRate is the mean number of bytes from one guarded object to the next. A guarded object
	// lies alone in a page between pages that fault on every access. From its free on, its own page
	// faults too. An access after its free, or one that reaches a neighbouring page, ends the
	// process with a report on standard error: the stacks of the access, the allocation and the
	// free. The governor slows down neither samples at a ProfileRate that a config sets, nor
	// guarded objects at such a GuardRate. 0 is automatic: what SLUBD_GUARD in the environment
	// says, otherwise 64 MiB. None guards no object. Objects with a slot larger than a page, and
	// those of caches with TypesafeByRCU, are never guarded, nor are any in builds without cgo or
	// with a sanitizer. A cache with a GuardRate does not merge. (Kernel: KFENCE.)
	GuardRate int64
	// Hardened makes the cache find double frees, writes after a free and some overruns, in
	// production: On or None. 0 is automatic: as SLUBD_HARDENED in the environment says,
	// see Hardened. It implies InitOnFree, where neither a Ctor nor TypesafeByRCU forbids that,
	// and ShuffleFreelist. docs/debugging.md says what it finds, docs/costs.md what it costs. A
	// cache that sets it does not merge.
	Hardened int
	// Debug makes the cache a debug cache, which checks its objects as the kernel does with
	// slab_debug=, in that grammar: letters that say what to check, as in "FZPU", or "-" for none.
	//
	//	F  every allocation and free checks the object; without it only Validate and Close do
	//	Z  bytes in front of the object, and behind what its user asked for, are known and checked
	//	P  a free object's bytes, and those that belong to no object, are known and checked
	//	U  the calls that allocated and freed the object are kept, for reports
	//	T  every allocation and free is printed on standard error
	//	A  slubtest.FailAlloc may make allocations fail, whenever the cache was made
	//	Q  what is freed waits before its memory serves again, first in, first out, until more
	//	   than 1 MiB of the cache waits, or SLUBD_QUARANTINE bytes; Shrink, Close and lack of
	//	   memory end that (kernel: KASAN's quarantine)
	//
	// Names may follow, as "P,session,conn-*;FZ", which is for configs of several caches; see
	// docs/debugging.md. Empty is automatic: what SLUBD_DEBUG in the environment says for the name,
	// in the same grammar, otherwise none.
	//
	// A debug cache has no sheaves and guards no objects. It is not hardened, and does not merge.
	// An operation takes a lock of the cache, and about as long as it takes to write the object. An
	// object of 64 bytes with alignment 8 takes 8 bytes more with P, 40 with Z or U, and 72 with
	// FZPU; a larger alignment rounds this up. A Ctor's objects and those of TypesafeByRCU keep
	// their content, so P does not check it. With the address sanitizer, which finds the same
	// errors, P does nothing, and Z makes room beside the objects. (Kernel: slab_debug.)
	Debug string
	// DebugAction says what a debug cache does after a report. 0 is automatic: what
	// SLUBD_DEBUG_ACTION in the environment says, panic, abort or repair; otherwise DebugRepair
	// with Hooks.Report and DebugPanic without.
	DebugAction DebugAction
	// CallSites counts, exactly, the objects and bytes that each line of the program has in use:
	// see CallSites and WriteCallSites. Alloc then takes two to three microseconds, since it walks
	// the call stack; AllocNoWait may wait for the lock of the table of sites, which is held for a
	// line's first allocation. A cache that sets it does not merge. (Kernel:
	// CONFIG_MEM_ALLOC_PROFILING.) A debug cache does not count.
	CallSites bool
	// Hooks are called for every object. Each of Alloc and Free then takes some nanoseconds more.
	// SetHooks changes them.
	Hooks hooks.Hooks
	// Domain provides the grace periods of FreeRCU. nil is automatic: DefaultDomain.
	Domain *rcu.Domain
	// RCUDelay bounds how long an object given to FreeRCU waits for others before its grace
	// period starts. 0 is automatic: 20 ms.
	RCUDelay time.Duration
	// RCUSoftLimit and RCUHardLimit bound the bytes that wait for grace periods. A sheaf counts
	// as a whole as soon as a CPU begins to gather objects in it. Beyond the soft limit,
	// half-full sheaves are started at once, the grace period is expedited, and what is ready is
	// reclaimed in the background. At the hard limit, which should have room for two sheaves per
	// CPU, FreeRCU waits.
	//
	// 0 is automatic. The hard limit is then a quarter of the arena's limit, or an eighth of the
	// memory of the machine or cgroup if the arena has no limit, for all caches and Buckets of the
	// arena with automatic limits together; the soft limit is a quarter of the hard one. Unlimited
	// is no bound.
	//
	// A hard limit below a sheaf's bytes is slow but safe, and no error: if nothing waits, one
	// sheaf is let through, however large, and every other FreeRCU waits for its grace period.
	// The size of sheaves depends on the number of CPUs and on SetSheafCapacity, so a limit that
	// is right on one machine would be refused on another.
	RCUSoftLimit, RCUHardLimit int64
	// RCUMaxWait bounds how long one FreeRCU waits at the hard limit. What it then adds beyond
	// the limit is counted (BacklogStats.Overruns). Once a wait has run out, no FreeRCU waits until
	// the backlog is below the limit: memory is then bounded by the arena's limit.
	//
	// 0 is automatic: 1 ms. None does not wait. With Unlimited the limit is never exceeded, and a
	// FreeRCU by an online reader of the Domain may wait for itself forever. WaitGrowing holds
	// callers up for longer and longer, before Alloc fails.
	RCUMaxWait time.Duration
}

// maxName is the largest number of characters in a name, which becomes a label value and a
// column.
const maxName = 64

// Validate reports all problems of the config at once, as New does. Each names the cache and the
// field, and wraps ErrConfig.
func (c Config) Validate() error {
	p := configErrors("cache", c.name(), "Config")
	if !validName(c.name()) {
		p.Add("Name", "%q: want 1 to %d letters, digits and _-.:/", c.Name, maxName)
	}
	if c.Size < 1 || c.Size > mem.PageSize<<arena.MaxOrder {
		p.Add("Size", "%d is not within 1..%d bytes", c.Size, mem.PageSize<<arena.MaxOrder)
	}
	if c.Align != 0 && (c.Align < 0 || c.Align > mem.PageSize || !mem.IsPow2(uintptr(c.Align))) {
		p.Add("Align", "%d is no power of two up to %d", c.Align, mem.PageSize)
	}
	if off := c.FreePtrOffset; off.set && (off.n%freePtrSize != 0 || off.n >= mem.AlignUp(uintptr(max(0, c.Size)), freePtrSize)) {
		p.Add("FreePtrOffset", "%d is no multiple of %d within the object's %s", off.n, freePtrSize, text.Count(c.Size, "byte", "bytes"))
	}
	if c.SheafCapacity < 0 || c.SheafCapacity > percpu.MaxCap {
		p.Add("SheafCapacity", "%d is not within 0..%d objects", c.SheafCapacity, percpu.MaxCap)
	}
	checkBarn(&p, "BarnFull", "BarnEmpty", c.BarnFull, c.BarnEmpty)
	if c.Flags&^allFlags != 0 {
		p.Add("Flags", "there is no flag %#x", uint32(c.Flags&^allFlags))
	}
	if c.RCUDtor != nil && c.Flags&NoSheaves != 0 {
		p.Add("RCUDtor", "needs sheaves, which the flag NoSheaves switches off")
	}
	if c.Ctor != nil && c.Flags&(InitOnAlloc|InitOnFree) != 0 {
		p.Add("Ctor", "the flags InitOnAlloc and InitOnFree would undo its work")
	}
	if c.Flags&TypesafeByRCU != 0 && c.Flags&(InitOnAlloc|InitOnFree) != 0 {
		p.Add("Flags", "readers of TypesafeByRCU would find objects that InitOnAlloc or InitOnFree clears")
	}
	if c.MinPartial < None {
		p.Add("MinPartial", "%d is negative; None keeps none", c.MinPartial)
	}
	if c.RemoteDefragRatio < None || c.RemoteDefragRatio > 100 {
		p.Add("RemoteDefragRatio", "%d is not within 0..100; None never looks", c.RemoteDefragRatio)
	}
	if c.ProfileRate < None {
		p.Add("ProfileRate", "%d is negative; None takes no samples", c.ProfileRate)
	}
	if c.GuardRate < None {
		p.Add("GuardRate", "%d is negative; None guards no object", c.GuardRate)
	}
	checkHardened(&p, c.Hardened)
	checkDebug(&p, c.Debug, c.DebugAction, c.Hardened, func(r debug.Rules) bool {
		f, _ := r.For(c.name())
		return f != 0
	})
	c.Slabs.validate(&p)
	c.rcuLimits().validate(&p)
	if c.RCUDelay < 0 {
		p.Add("RCUDelay", "%v is negative", c.RCUDelay)
	}
	return p.Err()
}

// checkHardened notes a problem with a config's Hardened.
func checkHardened(p *configerr.Problems, hardened int) {
	if hardened < None || hardened > On {
		p.Add("Hardened", "%d is neither On, which is %d, nor None, which is %d, nor 0 for automatic", hardened, On, None)
	}
}

// name is the name that New gives the cache, if no open cache has it.
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
