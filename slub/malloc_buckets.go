package slub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/freequeue"
	"github.com/slubd/slubd/slub/internal/sampling"
	"github.com/slubd/slubd/slub/internal/slab"
)

// Buckets allocate values of any size: up to 1 MiB from a cache per size class, up to 4 MiB as page
// runs of the arena, above that as mappings of their own. Above 32 KiB the first Malloc of a class
// has its cache made; values that are allocated before, zeroed or on a certain node are runs. Two
// Buckets never share memory, so a part of a program that allocates sizes which come from outside
// can be kept apart (kernel: kmalloc, kmem_buckets).
//
// Any goroutine may call all methods at any time, except that Close comes after the last use.
type Buckets struct {
	// The operations that are one restartable sequence each; see sequences.
	malloc    percpu.PopBySize
	free      percpu.FreeByOwner
	bytes     percpu.SliceBySize
	freeBytes percpu.FreeSliceByOwner
	direct    atomic.Uintptr // see sequences

	// Constant after NewBuckets.
	caches     []*Cache // of all classes, for each partition
	firstID    uint32   // number of caches[0]; those of the others follow
	partitions uint
	plain      uint // of 1 to plain bytes nothing is to be done but Alloc of the class; or 0

	debugged bool // a class is a debug cache, or large objects are checked

	arena  *arena.Arena
	config BucketsConfig
	id     uint32 // in the owner words of page runs
	index  uint32 // in allBuckets

	sampler   *sampler // of large objects
	runMarks  *slab.MarkTable
	secret    uint64 // of this Buckets, for the choice of a partition
	pages     pageClasses
	accounted accountedClasses
	large     largeObjects
	freeQueue freequeue.Queue // large objects given to FreeRCU
	backlog   *sharedBacklog  // of all sizes

	closeMu   sync.Mutex
	closed    closeFlag
	hooking   hookState        // of all sizes; the caches have the same set
	filled    []*filling       // under the mutex of hooking
	lease     *lease           // numbers and cells of all caches
	reclaimer *arena.Reclaimer // nil after a Close without error; under closeMu
	member    *groupMember     // of config.Group, for large objects; until reclaimer is nil
}

// BucketsConfig describes Buckets. The zero value is usable. In every field 0 means automatic.
type BucketsConfig struct {
	// Name is the first part of the caches' names, before "-SIZE", with the characters of
	// Config.Name: up to 56 of them, or up to 50 if there are Partitions. Empty is automatic:
	// "malloc".
	Name string
	// Partitions is the number of caches per class, up to 64. 0 is automatic: 1. With more than
	// one, a hash of the call site and a secret selects the cache, so that an access after free
	// rarely hits an object of another kind. To find the call site costs 100 to 400 ns, and Free 5
	// ns more from the fourth partition on. (Kernel: RANDOM_KMALLOC_CACHES.)
	Partitions int
	// RCUDtor is called once on each object given to FreeRCU, of whatever size; see
	// Config.RCUDtor.
	RCUDtor func(unsafe.Pointer)
	// Flags may contain InitOnAlloc and InitOnFree, which then apply to all sizes.
	Flags Flags
	// Group is charged for all sizes, and bounds them. nil: only the arena does.
	Group *Group
	// Tag, ProfileRate and GuardRate are as in Config, for all sizes.
	Tag                    string
	ProfileRate, GuardRate int64
	// Hardened is as in Config, for all sizes. Objects of pages are cleared when they are freed.
	Hardened int
	// Debug and DebugAction are as in Config. The sizes up to 32 KiB have names such as
	// "malloc-64"; what Accounts allocate of these is not checked. All above has the name
	// "malloc-large", and is page runs and mappings if that is named; see docs/debugging.md. A size
	// that is not a debug cache, of Buckets where another one is, takes some nanoseconds more.
	Debug       string
	DebugAction DebugAction
	// CallSites is as in Config, for all sizes. Objects of Accounts are not counted by call site.
	CallSites bool
	// Hooks are called for objects of all sizes. See SetHooks.
	Hooks hooks.Hooks
	// Domain provides the grace periods of FreeRCU. nil is automatic: DefaultDomain.
	Domain *rcu.Domain
	// RCUDelay is as in Config, for all sizes. 0 is automatic: 100 ms, since what is freed is
	// spread over the sheaves of many classes, which fill so much later.
	RCUDelay time.Duration
	// RCUSoftLimit, RCUHardLimit (bytes) and RCUMaxWait are as in Config, for all sizes together.
	RCUSoftLimit, RCUHardLimit int64
	RCUMaxWait                 time.Duration
}

const (
	maxPartitions = 64
	// bucketsDelay is the automatic RCUDelay. A sheaf that is started half-full costs two locks, a
	// look at another CPU and an exchange of sheaves, for a few objects. A server that replaces
	// 5,000 values a second, of 100 bytes to 4 KiB, frees one object of each class in 10 ms.
	bucketsDelay = 100 * time.Millisecond
)

// Validate reports all problems of the config at once, as NewBuckets does. Each names the buckets
// and the field, and wraps ErrConfig.
func (c BucketsConfig) Validate() error {
	p := configErrors("buckets", c.name(), "BucketsConfig")
	longest := c.pageClass(maxPageClass).Name
	if name := c.class(0, maxClass).Name; len(name) > len(longest) {
		longest = name
	}
	if !validName(longest) {
		p.Add("Name", "%q makes caches such as %q: want 1 to %d letters, digits and _-.:/", c.Name, longest, maxName)
	}
	if c.Partitions < 0 || c.Partitions > maxPartitions {
		p.Add("Partitions", "%d is not within 0..%d", c.Partitions, maxPartitions)
	}
	if wrong := c.Flags &^ (InitOnAlloc | InitOnFree); wrong != 0 {
		p.Add("Flags", "%#x is neither InitOnAlloc nor InitOnFree", uint32(wrong))
	}
	if c.ProfileRate < None {
		p.Add("ProfileRate", "%d is negative; None takes no samples", c.ProfileRate)
	}
	if c.GuardRate < None {
		p.Add("GuardRate", "%d is negative; None guards no object", c.GuardRate)
	}
	checkHardened(&p, c.Hardened)
	checkDebug(&p, c.Debug, c.DebugAction, c.Hardened, c.debugsClass)
	if c.RCUDelay < 0 {
		p.Add("RCUDelay", "%v is negative", c.RCUDelay)
	}
	c.rcuLimits().validate(&p)
	return p.Err()
}

// rcuDelay returns the RCUDelay in force.
func (c BucketsConfig) rcuDelay() time.Duration { return cmp.Or(c.RCUDelay, bucketsDelay) }

func (c BucketsConfig) name() string {
	if c.Name == "" {
		return "malloc"
	}
	return c.Name
}

// class returns the config of the cache of one class.
func (c BucketsConfig) class(partition int, size uintptr) Config {
	name := fmt.Sprintf("%s-%d", c.name(), size)
	if c.Partitions > 1 {
		name = fmt.Sprintf("%s-part-%02d-%d", c.name(), partition, size)
	}
	slabs, minPartial := classSlabs(size)
	return Config{Name: name, Size: int64(size), Align: int64(classAlign(size)), RCUDtor: c.RCUDtor,
		SheafCapacity: classCapacity(size, sheaves.CapacityFactor()), Slabs: slabs, MinPartial: minPartial,
		Flags: c.Flags, Group: c.Group, Tag: c.Tag, ProfileRate: c.ProfileRate, GuardRate: c.GuardRate, Hardened: c.Hardened, CallSites: c.CallSites,
		Debug: c.Debug, DebugAction: c.DebugAction,
		Hooks: c.Hooks, Domain: c.Domain, RCUDelay: c.rcuDelay(),
		RCUSoftLimit: c.RCUSoftLimit, RCUHardLimit: c.RCUHardLimit, RCUMaxWait: c.RCUMaxWait}
}

// debugsClass reports whether rules make the cache of a class a debug cache, or the Buckets debug
// Buckets.
func (c BucketsConfig) debugsClass(r debug.Rules) bool {
	for partition := range max(1, c.Partitions) {
		for _, size := range classSizes {
			if f, _ := r.For(c.class(partition, size).Name); f != 0 {
				return true
			}
		}
	}
	f, _ := r.For(c.large().Name)
	return f != 0
}

// clearsLarge reports whether what is no object of a class is cleared when it is freed, though
// Flags don't say so. It is never that of a debug cache, which is not hardened.
func (c BucketsConfig) clearsLarge() bool {
	c.Debug = "-"
	return c.class(0, maxClass).impliedFlags()&InitOnFree != 0
}

// NewBuckets makes Buckets whose memory comes from a, or from arena.Default if a is nil. It makes
// 67 caches for each partition; those of the sizes above 32 KiB are made when they are needed.
// Errors: as New. (Kernel: kmem_buckets_create.)
func NewBuckets(a *arena.Arena, cfg BucketsConfig) (*Buckets, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if a == nil {
		var err error
		if a, err = arena.Default(); err != nil {
			return nil, err
		}
	}
	if cfg.Domain == nil {
		cfg.Domain = DefaultDomain()
	}
	partitions := max(1, cfg.Partitions)
	n := partitions * numClasses
	backlog := cfg.rcuLimits().newBacklog(a, cfg.Domain)
	b := &Buckets{arena: a, config: cfg, backlog: backlog, partitions: uint(partitions), secret: rand.Uint64(),
		runMarks: runMarksOf(a),
		sampler:  newSampler(cfg.ProfileRate, None, sampling.Labels{Cache: cfg.name() + "-large", Group: cfg.Group.label(), Tag: cfg.Tag})}
	if b.config.clearsLarge() {
		b.config.Flags |= InitOnFree
	}
	b.hooking.now.Store(newHookSet(cfg.Hooks))
	b.large.mine = make(map[uintptr]mappingState)
	b.large.debugLarge(cfg.large())
	b.freeQueue.Init(freequeue.Config{Domain: cfg.Domain, Backlog: backlog.Backlog, Reclaim: b.reclaimLarge,
		Delay: cfg.rcuDelay(), Nodes: 1})
	numbers := n + 1 + len(pageClassSizes)
	first, err := caches.span(numbers)
	if err != nil {
		return nil, err
	}
	b.firstID, b.id = first, first+uint32(n)
	b.pages.firstID = b.id + 1
	b.pages.caches = make([]atomic.Pointer[Cache], len(pageClassSizes))
	b.pages.begun = make([]atomic.Bool, len(pageClassSizes))
	backlog.name, backlog.id = cfg.name, b.id
	row, err := percpu.NewAdjacentSlots(n)
	if err != nil {
		lease{first: first, n: numbers}.recycle() // nothing has seen the numbers
		return nil, fmt.Errorf("slub: buckets %q: %w: %w", cfg.name(), ErrNoMemory, err)
	}
	b.lease = &lease{first: first, n: numbers, slots: row}
	for i, stacks := range row {
		c, err := newCache(a, cfg.class(i/numClasses, classSizes[i%numClasses]), reservation{id: first + uint32(i), stacks: stacks, backlog: backlog, lease: b.lease, hooks: b.hooking.now.Load()})
		if err != nil {
			for _, unused := range row[i:] {
				err = errors.Join(err, unused.Free())
			}
			err = errors.Join(err, b.closeCaches(context.Background()))
			b.lease.end()
			return nil, err
		}
		b.caches = append(b.caches, c)
	}
	b.debugged = b.large.debug != nil || slices.ContainsFunc(b.caches, func(c *Cache) bool { return c.debug() != nil })
	ops := sequences{&b.malloc, &b.free, &b.bytes, &b.freeBytes, &b.direct}
	ops.init(b.mallocSlow, b.freeSlow, b.bytesSlow, b.freeBytesSlow)
	b.addSequences(ops, false)
	if partitions == 1 && !b.debugged && !sanitized {
		b.plain = maxClass
	}
	for _, c := range b.caches {
		c.buckets.Store(b)
	}
	b.member = &groupMember{buckets: b, giveBack: b.giveBack}
	cfg.Group.admit() // it is open, since the caches belong to it
	cfg.Group.join(b.member)
	b.reclaimer = a.AddReclaimer(b.giveBack)
	allBuckets.add(b)
	return b, nil
}

// all yields the caches that there are, by partition and then by size, those of the page classes
// behind them, and at last those that Accounts allocate from.
func (b *Buckets) all() iter.Seq[*Cache] {
	return func(yield func(*Cache) bool) {
		for _, c := range b.caches {
			if !yield(c) {
				return
			}
		}
		for _, c := range b.pages.made() {
			if !yield(c) {
				return
			}
		}
		for _, c := range b.accounted.made() {
			if !yield(c) {
				return
			}
		}
	}
}

// cacheOf returns the cache of these Buckets that owns an address; nil if none does.
func (b *Buckets) cacheOf(p unsafe.Pointer) *Cache { return b.cacheOfOwner(b.ownerAt(p)) }

// cacheOfOwner returns the cache of these Buckets with an owner word; nil if none has it.
func (b *Buckets) cacheOfOwner(o owner.Word) *Cache {
	id := o.ID()
	if i := id - b.firstID; i < uint32(len(b.caches)) {
		return b.caches[i]
	}
	if i := id - b.pages.firstID; i < uint32(len(b.pages.caches)) {
		return b.pages.caches[i].Load()
	}
	return b.accounted.cacheWith(id)
}

// ownerAt returns the owner of an address's page, 0 outside the arena's range.
func (b *Buckets) ownerAt(p unsafe.Pointer) owner.Word {
	if page, ok := b.pageOf(p); ok {
		return b.arena.Owner(page)
	}
	return 0
}

// pageOf returns the page of the arena that contains p. The zero Buckets have no arena and so no
// page; see defaultOrNone.
func (b *Buckets) pageOf(p unsafe.Pointer) (page uint32, ok bool) {
	if b.arena == nil {
		return 0, false
	}
	return b.arena.PageOf(uintptr(p))
}

// Caches returns the caches, by partition and then by size. Behind them come those of sizes above
// 32 KiB, and then those that Accounts allocate from, if allocations have had them made. They are
// for statistics. A caller may allocate from them, but must not close them.
func (b *Buckets) Caches() []*Cache { return slices.Collect(b.all()) }

// Barrier waits until everything given to FreeRCU or FreeDeferred before the call is free. Rules
// and errors are those of Cache.Barrier.
func (b *Buckets) Barrier(ctx context.Context) error {
	if callback.Inside() {
		return b.inCallback()
	}
	return b.barrier(ctx)
}

// inCallback is Cache.inCallback of Buckets.
func (b *Buckets) inCallback() error {
	return fmt.Errorf("slub: buckets %q: %w", b.config.name(), rcu.ErrInCallback)
}

// barrier is Barrier for callers that are no callbacks.
func (b *Buckets) barrier(ctx context.Context) error {
	for c := range b.all() {
		if err := c.barrier(ctx); err != nil {
			return err
		}
	}
	if err := b.freeQueue.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: buckets %q: %w", b.config.name(), err)
	}
	// Last, since destructors may have called FreeDeferred.
	if err := b.drainLargeWait(ctx); err != nil {
		return fmt.Errorf("slub: buckets %q: %w", b.config.name(), err)
	}
	return nil
}
